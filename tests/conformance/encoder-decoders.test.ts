/** Encoder-decoders against transformers: loss, gradients of both stacks and an AdamW step, pairs in rows of their own and packed into one. */
import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import type { TokenizedExample } from "../../src/data/batch.ts";
import { collate } from "../../src/data/batches.ts";
import { sameToken } from "../../src/data/collators.ts";
import { freeze } from "../../src/methods/freeze.ts";
import { full } from "../../src/methods/full.ts";
import { lora } from "../../src/methods/lora/lora.ts";
import { expectSummary, type Summary } from "./expect-summary.ts";
import { openTinyModel, reference } from "./tiny-model.ts";

interface Reference {
  sourceIds: number[][];
  decoderInputIds: number[][];
  labels: number[][];
  loss: number;
  gradients: Record<string, Summary>;
  lossAfterStep: number;
  optimizer: { learningRate: number; weightDecay: number; epsilon: number };
}

describe.each(readdirSync(`${reference}encoder-decoders`))("%s", (name) => {
  const folder = `${reference}encoder-decoders/${name}`;
  const expected = JSON.parse(readFileSync(`${folder}/reference.json`, "utf8")) as Reference;
  const { learningRate, weightDecay, epsilon } = expected.optimizer;
  const examples: TokenizedExample[] = expected.labels.map((labels, i) => ({
    inputIds: Int32Array.from(expected.decoderInputIds[i]!),
    labels: Int32Array.from(labels),
    encoderInputIds: Int32Array.from(expected.sourceIds[i]!),
  }));
  const inRows = collate(
    examples.map((example) => [example]),
    sameToken,
  );
  const step = { gradientScale: 1 / inRows.targetLabels.length, seed: 0 };

  it.each([
    { pairs: "in rows of their own", batch: inRows, activationCheckpointing: "none" },
    { pairs: "in rows of their own", batch: inRows, activationCheckpointing: "block" },
    { pairs: "packed into one row", batch: collate([examples], sameToken), activationCheckpointing: "none" },
  ] as const)(
    "agrees with transformers, pairs $pairs (activation checkpointing: $activationCheckpointing)",
    async ({ batch, activationCheckpointing }) => {
      const { engine, store } = await openTinyModel({
        ...{ folder, attach: (target) => full.attach(target), optimizer: { learningRate, weightDecay, epsilon }, activationCheckpointing },
      });
      const { lossSum, tokens } = await engine.accumulate(batch, step);
      expect(Math.abs(lossSum / tokens - expected.loss)).toBeLessThan(1e-5);
      for (const [parameter, summary] of Object.entries(expected.gradients))
        expectSummary(parameter, store.parameters.get(parameter)!.gradient!, summary, 1e-4);
      await engine.update({ learningRate, step: 1, gradientScale: 1 });
      const after = await engine.evaluate(batch);
      expect(Math.abs(after.lossSum / after.tokens - expected.lossAfterStep)).toBeLessThan(1e-4);
    },
  );

  it.each(["encoder", "decoder"])("gives the %s alone the gradients that it has among all", async (stack) => {
    const trainable = `${name === "bart" ? "model." : ""}${stack}.*`;
    const { engine, store } = await openTinyModel({
      folder,
      attach: (target) => freeze.attach(target, { name: "freeze", trainable: [trainable] }),
    });
    await engine.accumulate(inRows, step);
    const trained = Object.entries(expected.gradients).filter(([parameter]) => parameter.startsWith(trainable.slice(0, -1)));
    for (const [parameter, summary] of trained) expectSummary(parameter, store.parameters.get(parameter)!.gradient!, summary, 1e-4);
    expect([...store.parameters.values()].filter(({ gradient }) => gradient).length).toBe(trained.length);
  });

  it("learns with LoRA on both stacks", async () => {
    const { engine } = await openTinyModel({
      ...{ folder, attach: (target) => lora.attach(target, lora.configSchema.parse({ name: "lora", targetModules: "all-linear" })) },
      optimizer: { learningRate: 0.02 },
    });
    const before = (await engine.evaluate(inRows)).lossSum;
    for (let i = 1; i <= 5; i++) {
      await engine.accumulate(inRows, { ...step, seed: i });
      await engine.update({ learningRate: 0.02, step: i, gradientScale: 1 });
    }
    expect((await engine.evaluate(inRows)).lossSum).toBeLessThan(before);
  });
});
