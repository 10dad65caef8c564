/** LoRA, rsLoRA, DoRA and LoRA+ against PEFT: loss, gradients, a training curve and the merged weights, from adapters that PEFT wrote. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { mergedParameter, readAdapter, unmergedParameter } from "../../src/execution/weights/adapter-files.ts";
import { readFloat32 } from "../../src/models/weights/checkpoint.ts";
import { openFolder } from "../../src/platform/node/files.ts";
import { expectSummary, type Summary } from "./expect-summary.ts";
import { batchOf, openTinyModel, reference } from "./tiny-model.ts";

interface LoraReference {
  base: string;
  inputIds: number[][];
  loss: number;
  gradients: Record<string, Summary>;
  merged: Record<string, Summary>;
  optimizer: { learningRate: number };
  loraPlusLrRatio?: number;
  lossBeforeStep: number[];
  parametersAfterSteps: Record<string, Summary>;
}

describe.each(readdirSync(`${reference}lora`))("%s", (name) => {
  const folder = `${reference}lora/${name}`;
  const expected = JSON.parse(readFileSync(`${folder}/reference.json`, "utf8")) as LoraReference;

  async function open() {
    const adapter = await readAdapter(openFolder(`${folder}/adapter`));
    const opened = await openTinyModel({
      folder: `${reference}${expected.base}`,
      attach: (target) => adapter.method.attach(target, { ...(adapter.config as object), loraPlusLrRatio: expected.loraPlusLrRatio ?? 1 }),
      optimizer: expected.optimizer,
    });
    const { store, method } = opened;
    adapter.loadInto(store, method);
    const trained = [...store.parameters.values()].filter(({ gradient }) => gradient);
    const byFileName = new Map(trained.map((parameter) => [method.adapter!.fileName(parameter.spec.name), parameter]));
    expect([...byFileName.keys()].sort()).toEqual(Object.keys(expected.gradients).sort());
    return { ...opened, parameter: (fileName: string) => byFileName.get(fileName)! };
  }

  it("agrees in loss, gradients and five training steps", async () => {
    const { engine, parameter } = await open();
    const batch = batchOf(expected.inputIds);
    for (const [step, loss] of expected.lossBeforeStep.entries()) {
      const { lossSum, tokens } = await engine.accumulate(batch, { gradientScale: 1 / batch.targetLabels.length, seed: 0 });
      expect(Math.abs(lossSum / tokens - loss), `loss before step ${step + 1}`).toBeLessThan(2e-5);
      if (step === 0)
        for (const [tensor, summary] of Object.entries(expected.gradients))
          expectSummary(tensor, parameter(tensor).gradient!, summary, 1e-4);
      await engine.update({ learningRate: expected.optimizer.learningRate, step: step + 1, gradientScale: 1 });
    }
    for (const [tensor, summary] of Object.entries(expected.parametersAfterSteps))
      expectSummary(tensor, parameter(tensor).tensor.data as Float32Array, summary, 1e-3);
  });

  it("merges to the same weights", async () => {
    const { store, method } = await open();
    for (const [tensor, summary] of Object.entries(expected.merged))
      expectSummary(tensor, mergedParameter({ name: tensor, store, method }).data, summary, 1e-5);
  });

  it("unmerges to the base", async () => {
    const { store, method, checkpoint } = await open();
    for (const tensor of Object.keys(expected.merged)) {
      const stored = store.parameters.get(tensor)!;
      if (stored.gradient) {
        expect(() => unmergedParameter({ name: tensor, store, method })).toThrow(/was trained whole/);
        continue;
      }
      if (name.endsWith("dora")) {
        expect(() => unmergedParameter({ name: tensor, store, method })).toThrow(/cannot be undone/);
        continue;
      }
      const merged = mergedParameter({ name: tensor, store, method }).data;
      (stored.tensor.data as Float32Array).set(merged);
      const base = await readFloat32(checkpoint, tensor);
      unmergedParameter({ name: tensor, store, method }).data.forEach((value, i) => expect(Math.abs(value - base[i]!)).toBeLessThan(1e-6));
    }
  });
});

const shared = process.env.TUNESMITH_SHARED_DATA ?? new URL("../../../shared/data/", import.meta.url).pathname;
const present = existsSync(`${shared}/adapters/stories260k_lora_qkvo_r4`);
if (!present) console.log(`skipped: the PEFT adapter on stories260k: no shared data at ${shared}`);

describe.skipIf(!present)("an adapter on real weights (stories260k)", () => {
  it("continues the curve that PEFT recorded", async () => {
    const folder = `${shared}/adapters/stories260k_lora_qkvo_r4`;
    const expected = JSON.parse(readFileSync(`${folder}/expected.json`, "utf8")) as { loss_before_each_step: number[]; loss_after: number };
    const { passage_ids: passage } = JSON.parse(readFileSync(`${shared}/models/stories260k-llama/expected.json`, "utf8")) as {
      passage_ids: number[];
    };
    const adapter = await readAdapter(openFolder(`${folder}/init`));
    const { engine, store, method } = await openTinyModel({
      folder: `${shared}/models/stories260k-llama`,
      attach: (target) => adapter.method.attach(target, adapter.config),
      optimizer: { learningRate: 1e-2 },
    });
    adapter.loadInto(store, method);
    const batch = batchOf([passage]);
    for (const [step, loss] of expected.loss_before_each_step.entries()) {
      const { lossSum, tokens } = await engine.accumulate(batch, { gradientScale: 1 / batch.targetLabels.length, seed: 0 });
      expect(lossSum / tokens).toBeCloseTo(loss, 3);
      await engine.update({ learningRate: 1e-2, step: step + 1, gradientScale: 1 });
    }
    const after = await engine.evaluate(batch);
    expect(after.lossSum / after.tokens).toBeCloseTo(expected.loss_after, 3);
  });
});
