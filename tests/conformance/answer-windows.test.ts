/** Windows over a context and the tokens of an answer, as transformers' run_qa.py makes them. The tokenizers are published ones of the shared data. */
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { loadTokenizer } from "../../src/data/tokenizers/tokenizer.ts";
import { openFolder } from "../../src/platform/node/files.ts";
import { windowOf, windowsOf } from "../../src/tasks/answer-windows.ts";
import { sharedData, skipWithout } from "../shared-data.ts";

interface WindowCase {
  tokenizer: string;
  question: string;
  context: string;
  answer: string;
  start: number;
  windows: { inputIds: number[]; span: [number, number] }[];
}
const file = new URL("./reference/answer-windows/windows.json", import.meta.url);
const { maxLength, docStride, cases } = JSON.parse(readFileSync(file, "utf8")) as {
  maxLength: number;
  docStride: number;
  cases: WindowCase[];
};

describe.skipIf(skipWithout("tokenizers"))("windows over contexts", () => {
  it.each(cases.map((one) => [one.tokenizer, one.question, one] as const))("%s: %s", async (name, _, one) => {
    const tokenizer = await loadTokenizer(openFolder(`${sharedData}/tokenizers/${name}`));
    const question = { ...one, id: "one", answers: [{ text: one.answer, start: one.start }] };
    const windows = windowsOf(question, { tokenizer, maxLength, docStride });
    expect(windows.map(({ inputIds }) => [...inputIds])).toEqual(one.windows.map(({ inputIds }) => inputIds));
    expect(windows.map(({ target }) => target)).toEqual(one.windows.map(({ span }) => span));
    for (const window of windows) {
      const { contextStart, spans } = windowOf(window);
      const [first, last] = window.target as [number, number];
      if (first === 0) continue;
      expect(one.context.slice(spans[first - contextStart]![0], spans[last - contextStart]![1])).toContain(one.answer);
    }
  });
});
