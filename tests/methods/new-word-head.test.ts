/** An encoder that was saved without a head learns to fill in hidden tokens: its head begins at random, is trained whole beside any method and saved with it. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import type { FileContent } from "../../src/base/folder-shelf.ts";
import { collate } from "../../src/data/batches.ts";
import { sameToken } from "../../src/data/collators.ts";
import { type LoadedModel, openModel } from "../../src/execution/loaded-model.ts";
import { createOptimizer } from "../../src/execution/optimizer/create-optimizer.ts";
import { SegmentedTrainingEngine } from "../../src/execution/training-engine.ts";
import { type Adapter, encodeAdapter, readAdapter } from "../../src/execution/weights/adapter-files.ts";
import type { QuantizationConfig } from "../../src/execution/weights/quantised-base.ts";
import { mergedCheckpointFiles } from "../../src/export/merged-checkpoint.ts";
import type { Method } from "../../src/methods/method.ts";
import { methods } from "../../src/methods/registry.ts";
import { openSafetensors } from "../../src/models/weights/safetensors.ts";
import { causalLm } from "../../src/objectives/causal-lm.ts";
import { adamw } from "../../src/optimizers/adamw.ts";
import { openFolder, writeFileAtomic } from "../../src/platform/node/files.ts";
import { type BareEncoder, bareEncoders, writeBareEncoder } from "../bare-encoder.ts";
import { backend } from "../conformance/tiny-model.ts";

const temporary = mkdtempSync(join(tmpdir(), "tunesmith-word-head-"));
afterAll(() => rmSync(temporary, { recursive: true, force: true }));
const newFolder = (): string => mkdtempSync(join(temporary, "model-"));

const task = { peftTaskType: "FEATURE_EXTRACTION" };
const row = (...ids: number[]): Int32Array => Int32Array.from(ids);
const batch = collate(
  [
    [{ inputIds: row(2, 5, 4, 11, 13, 4, 3), labels: row(-100, -100, 6, -100, -100, 15, -100) }],
    [{ inputIds: row(2, 8, 4, 3), labels: row(-100, 8, 9, -100) }],
  ],
  sameToken,
);

interface Opening {
  readonly method?: string;
  readonly config?: object;
  readonly adapter?: Adapter;
  readonly quantization?: QuantizationConfig;
}

async function open(folder: string, by: Opening = {}): Promise<LoadedModel> {
  const method = (methods as readonly Method[]).find(({ name }) => name === by.method);
  return openModel({
    ...{ folder: openFolder(folder), backend, task, seed: 3 },
    ...(method && { method: { method, config: method.configSchema.parse({ name: method.name, ...by.config }) } }),
    ...(by.adapter && { adapter: by.adapter }),
    ...(by.quantization && { quantization: by.quantization }),
  });
}

async function engineOf({ model, method, store }: LoadedModel): Promise<SegmentedTrainingEngine> {
  const optimizer = await createOptimizer({ backend, optimizer: adamw, store, config: adamw.configSchema.parse({ name: "adamw" }) });
  return new SegmentedTrainingEngine({
    ...{ backend, model, method, store, regularisers: [], activationCheckpointing: "none", optimizer },
    ...{ objective: causalLm, objectiveConfig: { name: "causal-lm", labelSmoothing: 0 } },
  });
}
const lossOf = async (loaded: LoadedModel): Promise<number> => (await (await engineOf(loaded)).evaluate(batch)).lossSum;

/** A few steps on one batch. @returns the losses before and after */
async function train(loaded: LoadedModel): Promise<{ before: number; after: number }> {
  const engine = await engineOf(loaded);
  const before = await engine.evaluate(batch);
  for (let step = 1; step <= 6; step++) {
    await engine.accumulate(batch, { gradientScale: 1 / before.tokens, seed: step });
    await engine.update({ learningRate: 1e-2, step, gradientScale: 1 });
  }
  return { before: before.lossSum, after: (await engine.evaluate(batch)).lossSum };
}

async function write(files: Readonly<Record<string, FileContent>>): Promise<string> {
  const folder = newFolder();
  for (const [file, content] of Object.entries(files)) await writeFileAtomic(join(folder, file), content);
  return folder;
}
const adapterOf = (loaded: LoadedModel, base: string): Promise<string> => write(encodeAdapter({ ...loaded, baseModel: base }));
const classOf = (folder: string): string[] =>
  (JSON.parse(readFileSync(join(folder, "config.json"), "utf8")) as { architectures: string[] }).architectures;

/** Modules of transformers' class, its parameters that are new, and what it holds a second time. */
const heads: Readonly<Record<BareEncoder, { modules: string[]; fresh: string[]; shared: string[]; whole: string }>> = {
  bert: {
    modules: ["cls"],
    fresh: ["transform.dense.weight", "transform.dense.bias", "transform.LayerNorm.weight", "transform.LayerNorm.bias", "bias"].map(
      (name) => `cls.predictions.${name}`,
    ),
    shared: ["cls.predictions.decoder.weight", "cls.predictions.decoder.bias"],
    whole: "BertForMaskedLM",
  },
  roberta: {
    modules: ["lm_head"],
    fresh: ["dense.weight", "dense.bias", "layer_norm.weight", "layer_norm.bias", "bias"].map((name) => `lm_head.${name}`),
    shared: ["lm_head.decoder.weight", "lm_head.decoder.bias"],
    whole: "RobertaForMaskedLM",
  },
  distilbert: {
    modules: ["vocab_transform", "vocab_layer_norm", "vocab_projector"],
    fresh: ["transform.weight", "transform.bias", "layer_norm.weight", "layer_norm.bias", "projector.bias"].map((name) => `vocab_${name}`),
    shared: ["vocab_projector.weight"],
    whole: "DistilBertForMaskedLM",
  },
  modernbert: {
    modules: ["head", "decoder"],
    fresh: ["head.dense.weight", "head.norm.weight", "decoder.bias"],
    shared: ["decoder.weight"],
    whole: "ModernBertForMaskedLM",
  },
};

describe.each(bareEncoders)("a bare %s", (family) => {
  const { modules, fresh, shared, whole } = heads[family];

  it("gets transformers' head: weights at random, norms one, biases zero", async () => {
    const loaded = await open(await writeBareEncoder(newFolder(), family), { method: "lora" });
    expect([...loaded.fresh].sort()).toEqual([...fresh].sort());
    expect(loaded.model.newModules).toEqual(modules);
    for (const name of fresh) {
      const { tensor, gradient, spec } = loaded.store.parameters.get(name)!;
      expect(gradient, name).toBeDefined();
      const values = [...(tensor.data as Float32Array)];
      if (spec.kind === "norm") expect(new Set(values), name).toEqual(new Set([1]));
      else if (spec.kind === "bias") expect(new Set(values), name).toEqual(new Set([0]));
      else expect(Math.sqrt(values.reduce((sum, value) => sum + value * value, 0) / values.length), name).toBeCloseTo(0.02, 2);
    }
    // The head is trained whole, so no layer of it is adapted.
    expect(
      [...loaded.store.parameters.keys()].filter((name) => name.includes("lora") && modules.some((m) => name.startsWith(`${m}.`))),
    ).toEqual([]);
  });

  it.each([
    ["lora", { rank: 2 }],
    ["vera", { rank: 4 }],
    ["ia3", {}],
    ["prompt-tuning", { numVirtualTokens: 2 }],
    ["prefix-tuning", { numVirtualTokens: 2 }],
    ["bottleneck", { reductionFactor: 4 }],
    ["new-tokens", { tokens: ["red", "green"] }],
  ])("%s trains it and saves it, and both come back", async (method, config) => {
    const base = await writeBareEncoder(newFolder(), family);
    const tuned = await open(base, { method, config });
    const { before, after } = await train(tuned);
    expect(after).toBeLessThan(before);
    const folder = await adapterOf(tuned, base);
    const saved = JSON.parse(readFileSync(join(folder, "adapter_config.json"), "utf8")) as Record<string, unknown>;
    if (method !== "bottleneck") expect(saved).toMatchObject({ modules_to_save: modules });
    const again = await open(base, { adapter: await readAdapter(openFolder(folder)) });
    expect(await lossOf(again)).toBe(after);
  });

  it("an adapter holds all tensors of PEFT's modules, and not one that was trained apart there", async () => {
    const base = await writeBareEncoder(newFolder(), family);
    const tuned = await open(base, { method: "lora", config: { rank: 2 } });
    await train(tuned);
    const folder = await adapterOf(tuned, base);
    const { tensors } = await openSafetensors(await openFolder(folder).open("adapter_model.safetensors"));
    const ofHead = [...tensors.keys()].filter((name) => !name.includes("lora_")).map((name) => name.replace("base_model.model.", ""));
    expect(ofHead.sort()).toEqual([...fresh, ...shared].sort());
    const apart = await open(base, { method: "lora", config: { rank: 2 } });
    const [table] = Object.values(apart.model.wordHead!.shared);
    const words = apart.store.parameters.get(table!)!;
    (words.tensor.data as Float32Array)[0]! += 1;
    await expect(async () => (await readAdapter(openFolder(folder))).loadInto(apart.store, apart.method)).rejects.toThrow(
      /was trained apart from .*embeddings.* which it shares here \(tie_word_embeddings\)/,
    );
  });

  it.each(["lora", "full"])("%s, exported, is a model with its head", async (method) => {
    const base = await writeBareEncoder(newFolder(), family);
    const tuned = await open(base, { method });
    const { after } = await train(tuned);
    const merged = await write(await mergedCheckpointFiles(tuned, openFolder(base)));
    expect(classOf(merged)).toEqual([whole]);
    const again = await open(merged);
    expect(again.fresh).toEqual([]);
    expect(again.model.newModules).toBeUndefined();
    expect(Math.abs((await lossOf(again)) - after)).toBeLessThan(1e-4);
  });

  it("stays in floating point on a quantised base, and comes back to it", async () => {
    const base = await writeBareEncoder(newFolder(), family);
    const quantization = { format: "nf4", doubleQuantization: false, blockSize: 64, embeddings: "bfloat16" } as const;
    const tuned = await open(base, { method: "lora", config: { rank: 2 }, quantization });
    expect(fresh.filter((name) => tuned.store.parameters.get(name)!.storage.isQuantised)).toEqual([]);
    expect([...tuned.store.parameters.values()].some(({ storage }) => storage.isQuantised)).toBe(true);
    const { before, after } = await train(tuned);
    expect(after).toBeLessThan(before);
    const again = await open(base, { adapter: await readAdapter(openFolder(await adapterOf(tuned, base))) });
    expect(again.base.quantization).toEqual(quantization);
    expect(await lossOf(again)).toBe(after);
  });

  it("a head of which a part is there is damaged", async () => {
    const folder = await writeBareEncoder(newFolder(), family, (tensor) => tensor === fresh[0]);
    await expect(open(folder)).rejects.toThrow(`${fresh.at(-1)} [`);
  });
});
