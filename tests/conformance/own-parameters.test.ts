/** Methods that train a part of the model's own parameters, against the gradients and the step of full fine-tuning. */
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { bitfit } from "../../src/methods/bitfit.ts";
import { lastLayers } from "../../src/methods/last-layers.ts";
import type { AttachedMethod, MethodTarget } from "../../src/methods/method.ts";
import { expectSummary, type Summary } from "./expect-summary.ts";
import { batchOf, openTinyModel, reference } from "./tiny-model.ts";

interface FamilyReference {
  inputIds: number[][];
  gradients: Record<string, Summary>;
  optimizer: { learningRate: number };
  parametersAfterStep: Record<string, Summary>;
}

async function expectPartOfFull(family: string, attach: (target: MethodTarget) => AttachedMethod): Promise<string[]> {
  const folder = `${reference}families/${family}`;
  const expected = JSON.parse(readFileSync(`${folder}/reference.json`, "utf8")) as FamilyReference;
  const { engine, store } = await openTinyModel({ folder, attach, optimizer: expected.optimizer });
  const batch = batchOf(expected.inputIds);
  await engine.accumulate(batch, { gradientScale: 1 / batch.targetLabels.length, seed: 0 });
  const trained = [...store.parameters.values()].filter(({ gradient }) => gradient);
  for (const { spec, gradient } of trained) expectSummary(spec.name, gradient!, expected.gradients[spec.name]!, 1e-4);
  await engine.update({ learningRate: expected.optimizer.learningRate, step: 1, gradientScale: 1 });
  for (const { spec, tensor } of trained)
    expectSummary(spec.name, tensor.data as Float32Array, expected.parametersAfterStep[spec.name]!, 1e-4);
  return trained.map(({ spec }) => spec.name);
}

describe("bitfit", () => {
  const attach = (target: MethodTarget) => bitfit.attach(target);

  it("trains every bias of GPT-2, norms included", async () => {
    const trained = await expectPartOfFull("gpt2", attach);
    expect(trained.length).toBe(2 * 6 + 1);
    expect(trained.every((name) => name.endsWith(".bias"))).toBe(true);
  });

  it("trains the query, key and value biases of Qwen2", async () => {
    expect((await expectPartOfFull("qwen2", attach)).length).toBe(2 * 3);
  });

  it("says what to do where there are none", async () => {
    await expect(expectPartOfFull("llama", attach)).rejects.toThrow(/this model \(llama\) has none. Use ia3 or lora/);
  });
});

describe("last-layers", () => {
  const attach = (config: object) => (target: MethodTarget) =>
    lastLayers.attach(target, lastLayers.configSchema.parse({ name: "last-layers", ...config }));

  it("trains the last blocks and the final norm", async () => {
    const trained = await expectPartOfFull("gpt2", attach({ layers: 1 }));
    expect(trained.filter((name) => !name.startsWith("transformer.h.1."))).toEqual(["transformer.ln_f.weight", "transformer.ln_f.bias"]);
    expect(trained.length).toBe(12 + 2);
  });

  it("trains the head where asked, and leaves the final norm where asked", async () => {
    const trained = await expectPartOfFull("llama", attach({ layers: 1, finalNorm: false, head: true }));
    expect(trained.filter((name) => !name.startsWith("model.layers.1."))).toEqual(["lm_head.weight"]);
  });

  it("refuses more layers than there are, and a head that is the embedding", async () => {
    await expect(expectPartOfFull("llama", attach({ layers: 3 }))).rejects.toThrow(/method.layers: 3 is above the model's 2 layers/);
    await expect(expectPartOfFull("gpt2", attach({ head: true }))).rejects.toThrow(/method.head: the head shares its matrix/);
  });
});
