/** tunesmith generate and chat: batches from a file, beams, interrupts, and what does not go together. */
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { root, runCli } from "./run-cli.ts";
import { smallBert, smallT5, writeSmallCheckpoint } from "./small-checkpoint.ts";

const checkpoint = "examples/base-model/checkpoint";
const folder = mkdtempSync(join(tmpdir(), "tunesmith-generate-"));
afterAll(() => rmSync(folder, { recursive: true }));

const fileOf = (name: string, content: string): string => {
  writeFileSync(join(folder, name), content);
  return join(folder, name);
};
interface Line {
  readonly index: number;
  readonly prompt: string;
  readonly text: string;
  readonly finishReason: string;
  readonly score?: number;
}
async function generate(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await runCli(["generate", checkpoint, ...args]);
  expect(stderr).not.toMatch(/error/);
  expect(code).toBe(0);
  return stdout;
}
const linesOf = (stdout: string): Line[] =>
  stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Line);

describe("prompts from a file", () => {
  const prompts = ["The bear", "What does the small fox eat in the forest", "A"];
  const asked = ["--temperature", "0", "--max-new-tokens", "8"];

  it("are answered in batches as each alone", async () => {
    const file = fileOf("prompts.txt", `${prompts.join("\n")}\n\n`);
    const lines = linesOf(await generate("--prompts", file, "--batch-size", "2", ...asked));
    expect(lines.map(({ index, prompt }) => [index, prompt])).toEqual(prompts.map((prompt, i) => [i, prompt]));
    for (const { prompt, text } of lines) expect(`${text}\n`).toBe(await generate(prompt, ...asked));
  });

  it("may be rows of JSONL, conversations too, and beams give several texts each", async () => {
    const rows = [{ prompt: prompts[0] }, { messages: [{ role: "user", content: prompts[1] }] }];
    const file = fileOf("prompts.jsonl", rows.map((row) => JSON.stringify(row)).join("\n"));
    const beams = ["--num-beams", "3", "--num-return-sequences", "2", "--no-repeat-ngram-size", "2", "--max-new-tokens", "6"];
    const lines = linesOf(await generate("--prompts", file, ...beams));
    expect(lines.map(({ index }) => index)).toEqual([0, 0, 1, 1]);
    for (const first of [0, 2]) expect(lines[first]!.score!).toBeGreaterThanOrEqual(lines[first + 1]!.score!);
    expect(await generate(prompts[1]!, ...beams)).toContain(lines[2]!.text);
  });

  it("draw the same whatever the size of the batches", async () => {
    const file = fileOf("seeds.txt", prompts.join("\n"));
    const drawn = ["--prompts", file, "--seed", "4", "--max-new-tokens", "6", "--top-k", "20"];
    expect(await generate(...drawn, "--batch-size", "1")).toBe(await generate(...drawn, "--batch-size", "8"));
  });

  it("an interrupt leaves whole lines, and says how many", async () => {
    const file = fileOf("many.txt", Array.from({ length: 400 }, (_, i) => `The bear ${i}`).join("\n"));
    const args = ["generate", checkpoint, "--prompts", file, "--batch-size", "1", "--max-new-tokens", "4"];
    const child = spawn(process.execPath, [resolve(root, "dist/cli/main.js"), ...args], { cwd: root });
    let [stdout, stderr] = ["", ""];
    child.stderr.on("data", (piece) => (stderr += piece));
    child.stdout.on("data", (piece) => {
      if (stdout === "") child.kill("SIGINT");
      stdout += piece;
    });
    const code = await new Promise((done) => child.on("close", done));
    expect(code).toBe(130);
    const lines = linesOf(stdout);
    expect(lines.length).toBeLessThan(400);
    expect(stderr).toContain(`interrupted: ${lines.length} of 400 answers are whole and were written`);
  });
});

it("chat answers every line that it is given", async () => {
  const args = ["chat", checkpoint, "--temperature", "0", "--max-new-tokens", "6"];
  const child = spawn(process.execPath, [resolve(root, "dist/cli/main.js"), ...args], { cwd: root });
  let stdout = "";
  child.stdout.on("data", (piece) => (stdout += piece));
  child.stdin.end("What does the bear eat?\nWhere does it live?\n");
  expect(await new Promise((done) => child.on("close", done))).toBe(0);
  expect(stdout.trim().split("\n")).toHaveLength(2);
});

describe("what does not go together is said", () => {
  const empty = fileOf("empty.jsonl", '{"prompt": "a"}\n{"question": "b"}\n');
  it.each<[string, string[], RegExp, number]>([
    ["no prompt", [], /there is no prompt.*--prompts/, 2],
    ["a prompt and a file", ["Hi", "--prompts", empty], /there is a prompt \("Hi"\) and a file/, 2],
    [
      "beams that draw",
      ["Hi", "--num-beams", "2", "--temperature", "0.5"],
      /temperature is 0.5 with numBeams 2: beam search draws nothing/,
      2,
    ],
    ["beams among the likeliest", ["Hi", "--num-beams", "2", "--top-k", "5"], /topK is 5 with numBeams 2/, 2],
    ["beams that stop", ["Hi", "--num-beams", "2", "--stop", "END"], /stop string "END".*numBeams/, 2],
    [
      "more texts than beams",
      ["Hi", "--num-beams", "2", "--num-return-sequences", "3"],
      /numReturnSequences is 3; 2 beams give no more than 2/,
      2,
    ],
    ["the same text twice", ["Hi", "--temperature", "0", "--num-return-sequences", "2"], /numReturnSequences is 2 at temperature 0/, 2],
    ["a penalty without beams", ["Hi", "--length-penalty", "2"], /--length-penalty ranks.*Add --num-beams/, 2],
    [
      "an unknown way of stopping",
      ["Hi", "--num-beams", "2", "--early-stopping", "yes"],
      /--early-stopping is "yes"; expected true, false or never/,
      2,
    ],
    ["half a beam", ["Hi", "--num-beams", "1.5"], /--num-beams is 1.5; expected a whole number, 1 or more/, 2],
    ["more than all", ["Hi", "--top-p", "2"], /--top-p is 2/, 2],
    ["a row without a prompt", ["--prompts", empty], /empty\.jsonl:2: expected "prompt"/, 1],
    ["a file that is not there", ["--prompts", "none.txt"], /none\.txt cannot be read: ENOENT/, 1],
    ["a prompt beyond the context", ["bear ".repeat(3000)], /the prompt has \d+ tokens; the model has positions for \d+\. Shorten/, 1],
  ])("%s", async (_, args, message, expected) => {
    const { code, stderr } = await runCli(["generate", checkpoint, ...args]);
    expect(stderr).toMatch(message);
    expect(code).toBe(expected);
  });

  it("a model that does not write", async () => {
    const bert = await writeSmallCheckpoint(join(folder, "bert"), smallBert);
    const { code, stderr } = await runCli(["generate", bert, "warm sun"]);
    expect(stderr).toMatch(/bert reads whole texts and predicts hidden tokens; it writes none/);
    expect(code).toBe(1);
  });
});

it("an encoder-decoder writes from a source, alone and in a batch, and does not chat", async () => {
  const t5 = await writeSmallCheckpoint(join(folder, "t5"), smallT5);
  const sources = ["warm sun", "cold rain wind night one two three"];
  const asked = ["--num-beams", "2", "--max-new-tokens", "5", "--source-prefix", "good "];
  const file = fileOf("sources.txt", sources.join("\n"));
  const lines = linesOf((await runCli(["generate", t5, "--prompts", file, ...asked])).stdout);
  expect(lines.map(({ prompt }) => prompt)).toEqual(sources);
  for (const { prompt, text } of lines) {
    const { code, stdout } = await runCli(["generate", t5, prompt, ...asked]);
    expect(code).toBe(0);
    expect(stdout).toBe(`${text}\n`);
  }
  expect((await runCli(["chat", t5])).stderr).toMatch(/t5 turns a source into a target and holds no conversation/);
});
