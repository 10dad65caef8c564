/** Encoders against transformers: loss, gradients and an AdamW step of masked language models, documents in rows of their own and packed into one. */
import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { collate } from "../../src/data/batches.ts";
import { sameToken } from "../../src/data/collators.ts";
import { full } from "../../src/methods/full.ts";
import { expectSummary, type Summary } from "./expect-summary.ts";
import { openTinyModel, reference } from "./tiny-model.ts";

interface Reference {
  inputIds: number[][];
  tokenTypeIds: number[][];
  labels: number[][];
  loss: number;
  gradients: Record<string, Summary>;
  lossAfterStep: number;
  optimizer: { learningRate: number; weightDecay: number; epsilon: number };
}

describe.each(readdirSync(`${reference}encoders`))("%s", (name) => {
  const folder = `${reference}encoders/${name}`;
  const expected = JSON.parse(readFileSync(`${folder}/reference.json`, "utf8")) as Reference;
  const { learningRate, weightDecay, epsilon } = expected.optimizer;
  const examples = expected.inputIds.map((ids, i) => ({
    inputIds: Int32Array.from(ids),
    labels: Int32Array.from(expected.labels[i]!),
    tokenTypeIds: Int32Array.from(expected.tokenTypeIds[i]!),
  }));
  const inRows = collate(
    examples.map((example) => [example]),
    sameToken,
  );
  it.each([
    { documents: "in rows of their own", batch: inRows, activationCheckpointing: "none" },
    { documents: "in rows of their own", batch: inRows, activationCheckpointing: "block" },
    { documents: "packed into one row", batch: collate([examples], sameToken), activationCheckpointing: "none" },
  ] as const)(
    "agrees with transformers, documents $documents (activation checkpointing: $activationCheckpointing)",
    async ({ batch, activationCheckpointing }) => {
      const { engine, store } = await openTinyModel({
        ...{ folder, attach: (target) => full.attach(target), optimizer: { learningRate, weightDecay, epsilon }, activationCheckpointing },
      });
      const { lossSum, tokens } = await engine.accumulate(batch, { gradientScale: 1 / batch.targetLabels.length, seed: 0 });
      expect(Math.abs(lossSum / tokens - expected.loss)).toBeLessThan(1e-5);
      for (const [parameter, summary] of Object.entries(expected.gradients))
        expectSummary(parameter, store.parameters.get(parameter)!.gradient!, summary, 1e-4);
      await engine.update({ learningRate, step: 1, gradientScale: 1 });
      const after = await engine.evaluate(batch);
      expect(Math.abs(after.lossSum / after.tokens - expected.lossAfterStep)).toBeLessThan(1e-4);
    },
  );
});
