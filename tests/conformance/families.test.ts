/** Every family against transformers: loss, gradient of every parameter and one AdamW step, on tiny random checkpoints. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { full } from "../../src/methods/full.ts";
import { createModel } from "../../src/models/families/registry.ts";
import { computeRotaryTables } from "../../src/models/layers/rotary.ts";
import { describeModel } from "../../src/models/segments.ts";
import { expectSummary, type Summary } from "./expect-summary.ts";
import { batchOf, openTinyModel, packedBatch, reference } from "./tiny-model.ts";

interface FamilyReference {
  inputIds: number[][];
  loss: number;
  gradients: Record<string, Summary>;
  parametersAfterStep: Record<string, Summary>;
  lossAfterStep: number;
  optimizer: { learningRate: number; weightDecay: number; epsilon: number };
}

const read = <T>(path: string): T => JSON.parse(readFileSync(path, "utf8")) as T;

describe.each(readdirSync(`${reference}families`))("%s", (family) => {
  const folder = `${reference}families/${family}`;
  const expected = read<FamilyReference>(`${folder}/reference.json`);
  it.each(["none", "block"] as const)(
    "agrees in loss, gradients and an optimizer step (activation checkpointing: %s)",
    async (activationCheckpointing) => {
      const { learningRate, weightDecay, epsilon } = expected.optimizer;
      const { engine, store } = await openTinyModel({
        folder,
        attach: (target) => full.attach(target),
        optimizer: { learningRate, weightDecay, epsilon },
        activationCheckpointing,
      });
      const batch = batchOf(expected.inputIds);
      const { lossSum, tokens } = await engine.accumulate(batch, { gradientScale: 1 / batch.targetLabels.length, seed: 0 });
      expect(Math.abs(lossSum / tokens - expected.loss)).toBeLessThan(1e-5);
      for (const [name, summary] of Object.entries(expected.gradients))
        expectSummary(name, store.parameters.get(name)!.gradient!, summary, 1e-4);
      await engine.update({ learningRate, step: 1, gradientScale: 1 });
      for (const [name, summary] of Object.entries(expected.parametersAfterStep))
        expectSummary(name, store.parameters.get(name)!.tensor.data as Float32Array, summary, 1e-4);
      const after = await engine.evaluate(batch);
      expect(Math.abs(after.lossSum / after.tokens - expected.lossAfterStep)).toBeLessThan(1e-4);
    },
  );
});

describe.each(readdirSync(`${reference}families`).filter((family) => existsSync(`${reference}families/${family}/config.legacy.json`)))(
  "%s, as transformers 4 wrote its config.json",
  (family) => {
    const describeConfig = (file: string) => {
      const model = createModel(read(`${reference}families/${family}/${file}`));
      const layers = Array.from({ length: model.numHiddenLayers }, (_, layer) => layer);
      const tables = (layer: number, length: number) => {
        const config = model.rotary?.(layer);
        return config && computeRotaryTables(config, { length, sequenceLength: length });
      };
      return {
        parameters: describeModel(model).parameters,
        layers: layers.map((layer) => ({ kind: model.maskKind(layer), short: tables(layer, 4), long: tables(layer, 80) })),
      };
    };
    it("is the same model", () => expect(describeConfig("config.legacy.json")).toEqual(describeConfig("config.json")));
  },
);

describe.each(["llama", "mistral", "qwen3", "gpt2"])("%s, two documents packed into one sequence", (family) => {
  const folder = `${reference}families/${family}`;
  const expected = read<{
    inputIds: number[][];
    positionIds: number[][];
    documentIds: number[][];
    loss: number;
    gradients: Record<string, Summary>;
  }>(`${folder}/packed.json`);
  it("keeps attention inside each document", async () => {
    const { engine, store } = await openTinyModel({ folder, attach: (target) => full.attach(target) });
    const [inputIds, positionIds, documentIds] = [expected.inputIds[0]!, expected.positionIds[0]!, expected.documentIds[0]!];
    const batch = packedBatch({ inputIds, positionIds, documentIds, batchSize: 1, tokens: inputIds.length });
    const { lossSum, tokens } = await engine.accumulate(batch, { gradientScale: 1 / batch.targetLabels.length, seed: 0 });
    expect(Math.abs(lossSum / tokens - expected.loss)).toBeLessThan(1e-5);
    for (const [name, summary] of Object.entries(expected.gradients))
      expectSummary(name, store.parameters.get(name)!.gradient!, summary, 1e-4);
  });
});
