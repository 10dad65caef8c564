/**
 * Every family on a base that computes in 8-bit integers, embeddings and head too: LoRA's gradients point where they do on
 * the float32 weights. Layers are 16 to 64 wide here, so that roundings average out less than in models of use.
 */
import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import type { Batch, TokenizedExample } from "../../src/data/batch.ts";
import { collate } from "../../src/data/batches.ts";
import { sameToken } from "../../src/data/collators.ts";
import { lora } from "../../src/methods/lora/lora.ts";
import { cosine } from "../cosine.ts";
import { batchOf, openTinyModel, reference } from "./tiny-model.ts";

const quantization = { format: "int8", compute: "int8", embeddings: "int8" } as const;

interface Recorded {
  readonly inputIds: number[][];
  readonly tokenTypeIds: number[][];
  readonly sourceIds: number[][];
  readonly decoderInputIds: number[][];
  readonly labels: number[][];
}
const ids = (numbers: readonly number[]): Int32Array => Int32Array.from(numbers);
const inRows = (examples: TokenizedExample[]): Batch =>
  collate(
    examples.map((example) => [example]),
    sameToken,
  );
/** The batch that the reference implementation read, by folder of the fixtures. */
const batches: Readonly<Record<string, (recorded: Recorded) => Batch>> = {
  families: ({ inputIds }) => batchOf(inputIds),
  encoders: ({ inputIds, tokenTypeIds, labels }) =>
    inRows(inputIds.map((row, i) => ({ inputIds: ids(row), labels: ids(labels[i]!), tokenTypeIds: ids(tokenTypeIds[i]!) }))),
  "encoder-decoders": ({ sourceIds, decoderInputIds, labels }) =>
    inRows(labels.map((row, i) => ({ inputIds: ids(decoderInputIds[i]!), labels: ids(row), encoderInputIds: ids(sourceIds[i]!) }))),
};

describe.each(Object.keys(batches))("%s", (kind) => {
  it.each(readdirSync(`${reference}${kind}`))("%s", async (name) => {
    const folder = `${reference}${kind}/${name}`;
    const batch = batches[kind]!(JSON.parse(readFileSync(`${folder}/reference.json`, "utf8")) as Recorded);
    const attach = (target: Parameters<typeof lora.attach>[0]) =>
      lora.attach(target, lora.configSchema.parse({ name: "lora", targetModules: "all-linear" }));
    const [exact, rounded] = [await openTinyModel({ folder, attach }), await openTinyModel({ folder, attach, quantization })];
    const losses = [];
    for (const { engine } of [exact, rounded]) losses.push((await engine.accumulate(batch, { gradientScale: 1, seed: 1 })).lossSum);
    expect(Math.abs(losses[1]! / losses[0]! - 1)).toBeLessThan(0.01);
    expect(cosine(exact.store.groups[0]!.gradients, rounded.store.groups[0]!.gradients)).toBeGreaterThan(0.97);
  });
});
