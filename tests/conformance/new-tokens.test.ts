/** Trained embedding rows against PEFT's trainable tokens: loss, gradients, a training curve and the merged table. */
import { readdirSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { mergedParameter } from "../../src/execution/weights/adapter-files.ts";
import { newTokens } from "../../src/methods/new-tokens.ts";
import { expectSummary, type Summary } from "./expect-summary.ts";
import { type CurveReference, expectCurve, openPeftCase, parameterOf, readReference } from "./peft-case.ts";
import { batchOf, openTinyModel, reference } from "./tiny-model.ts";

describe.each(readdirSync(`${reference}new-tokens`))("%s", (name) => {
  const folder = `${reference}new-tokens/${name}`;
  const expected = readReference<CurveReference & { merged: Record<string, Summary> }>(folder);

  it("agrees in loss, gradients and five training steps", async () => {
    const opened = await openPeftCase(folder);
    const ours = parameterOf(opened);
    const pick = (tensor: string, part: "values" | "gradient") => ours(tensor.replace("base_model.model.", ""), part);
    await expectCurve({ opened, expected, batch: batchOf(expected.inputIds), pick });
  });

  it("merges to the same table", async () => {
    const { store, method } = await openPeftCase(folder);
    const own = Object.entries(expected.merged).filter(([tensor]) => store.parameters.has(tensor)); // a tied head is the same tensor
    expect(own.length).toBe(1);
    for (const [tensor, summary] of own) expectSummary(tensor, mergedParameter({ name: tensor, store, method }).data, summary, 1e-5);
  });
});

describe("which tokens", () => {
  const idOf = (token: string) => ({ "<tool>": 5, "<beyond>": 200 })[token];
  const open = (tokens: (string | number)[]) =>
    openTinyModel({
      folder: `${reference}families/llama`,
      attach: (target) =>
        newTokens.attach(
          { ...target, tokenizer: { idOf, encode: () => [] } },
          newTokens.configSchema.parse({ name: "new-tokens", tokens }),
        ),
    });

  it("by text or id, each once", async () => {
    const { method, store } = await open(["<tool>", 9]);
    expect(method.added[0]!.shape).toEqual([2, 32]);
    const table = store.parameters.get("model.embed_tokens.weight")!.tensor.data as Float32Array;
    const rows = store.parameters.get("model.embed_tokens.trainable_tokens_delta")!.tensor.data as Float32Array;
    expect([...rows]).toEqual([...table.subarray(5 * 32, 6 * 32), ...table.subarray(9 * 32, 10 * 32)]);
    await expect(open(["<tool>", 5])).rejects.toThrow(/id 5 is named twice/);
  });

  it("refuses what is no token here", async () => {
    await expect(open(["<tol>"])).rejects.toThrow(/method.tokens: "<tol>" is not a token of this tokenizer/);
    await expect(open(["<beyond>"])).rejects.toThrow(/has id 200; the embedding has 97 rows/);
  });
});
