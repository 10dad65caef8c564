/** Starts of LoRA that are found in training data (EVA) and in what a quantised base rounds away (LoftQ), against PEFT. */
import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { createRandom } from "../../src/base/random.ts";
import type { Batch } from "../../src/data/batch.ts";
import { collate } from "../../src/data/batches.ts";
import { nextToken, sameToken, wholeDocument } from "../../src/data/collators.ts";
import { observeInputs } from "../../src/execution/layer-inputs.ts";
import { untouched } from "../../src/execution/loaded-model.ts";
import { weightsOf } from "../../src/execution/weights/checkpoint-weights.ts";
import { loadParameters } from "../../src/execution/weights/parameter-store.ts";
import { findStart } from "../../src/methods/lora/eva.ts";
import { lora } from "../../src/methods/lora/lora.ts";
import type { ObservedInputs, ParameterData } from "../../src/methods/method.ts";
import type { HeadChoice } from "../../src/models/label-heads.ts";
import { int8 } from "../../src/models/quantisation/int8.ts";
import { nf4 } from "../../src/models/quantisation/nf4.ts";
import { describeModel, type LinearModule } from "../../src/models/segments.ts";
import { expectSummary, type Summary } from "./expect-summary.ts";
import { backend, batchOf, openTinyModel, reference } from "./tiny-model.ts";

interface EvaReference {
  base: string;
  options: { rank: number; rho: number; tau: number; use_label_mask: boolean; whiten?: boolean; adjust_scaling_factors?: boolean };
  targetModules: string | string[];
  inputIds: number[][];
  unsupervised: number;
  ranks: Record<string, number>;
  scalings: Record<string, number>;
  rank_pattern: Record<string, number>;
  alpha_pattern: Record<string, number>;
  factors: Record<string, Summary>;
}

describe.each(readdirSync(`${reference}lora-eva`))("eva %s", (file) => {
  const expected = JSON.parse(readFileSync(`${reference}lora-eva/${file}`, "utf8")) as EvaReference;
  const { rank, rho, tau, use_label_mask, whiten = false, adjust_scaling_factors = true } = expected.options;
  const batches = expected.inputIds.map((row) => {
    const batch = batchOf([row]);
    // The label of a token is that of the position before it.
    const kept = [...batch.targetPositions.keys()].filter((i) => batch.targetPositions[i]! + 1 >= expected.unsupervised);
    return {
      ...batch,
      targetPositions: Int32Array.from(kept, (i) => batch.targetPositions[i]!),
      targetLabels: Int32Array.from(kept, (i) => batch.targetLabels[i]!),
    };
  });

  it("finds PEFT's ranks, scales and directions", async () => {
    const { checkpoint, model, store: base } = await openTinyModel({ folder: `${reference}${expected.base}`, attach: () => untouched });
    const { parameters, linears } = describeModel(model);
    const config = lora.configSchema.parse({
      ...{ name: "lora", rank, targetModules: expected.targetModules, initLoraWeights: "eva" },
      evaConfig: { rho, tau, useLabelMask: use_label_mask, whiten, adjustScalingFactors: adjust_scaling_factors },
    });
    const inputs = await observeInputs({ backend, model, store: base, linears, batches });
    const method = await lora.attachToData({ model, parameters, linears }, config, inputs);
    const store = await loadParameters({
      ...{ specs: parameters, method, source: weightsOf(checkpoint), random: createRandom(1), storable: backend.storable },
      loaded: base.parameters,
    });
    const ranks = Object.fromEntries(
      [...store.parameters.values()]
        .filter(({ spec }) => spec.name.endsWith("lora_A.weight"))
        .map(({ spec }) => [spec.name.replace(".lora_A.weight", ""), spec.shape[0]]),
    );
    // Which of the layers that read the same values gets a spare rank is up to torch's sort, which is not stable.
    for (const group of inputs.groups) {
      const sorted = (of: Record<string, number | undefined>) => group.map(({ module }) => of[module] ?? 0).sort();
      expect(sorted(ranks)).toEqual(sorted(expected.ranks));
    }
    const written = method.adapter!.config("base") as Pick<EvaReference, "rank_pattern" | "alpha_pattern">;
    const valuesOf = (pattern: Record<string, number>) => Object.values(pattern).sort();
    expect(valuesOf(written.rank_pattern)).toEqual(valuesOf(expected.rank_pattern));
    expect(valuesOf(written.alpha_pattern)).toEqual(valuesOf(expected.alpha_pattern));
    for (const [module, summary] of Object.entries(expected.factors)) {
      const { tensor } = store.parameters.get(`${module}.lora_A.weight`)!;
      if (ranks[module] === expected.ranks[module]) expectSummary(`A of ${module}`, tensor.data as Float32Array, summary, 1e-3);
      expect((store.parameters.get(`${module}.lora_B.weight`)!.tensor.data as Float32Array).every((value) => value === 0)).toBe(true);
    }
    expect(store.parameters.get(parameters[0]!.name)!.tensor.data).toBe(base.parameters.get(parameters[0]!.name)!.tensor.data);
  });
});

it("says that batches are too short", async () => {
  const { model, store } = await openTinyModel({ folder: `${reference}families/llama`, attach: () => untouched });
  const { parameters, linears } = describeModel(model);
  const inputs = await observeInputs({ backend, model, store, linears, batches: [batchOf([[3, 5, 7, 9]])] });
  const config = lora.configSchema.parse({ name: "lora", rank: 4, initLoraWeights: "eva" });
  await expect(lora.attachToData({ model, parameters, linears }, config, inputs)).rejects.toThrow(
    /eva needs batches of at least 8 supervised tokens/,
  );
  expect(() => lora.attach({ model, parameters, linears }, config)).toThrow(/eva starts from training data/);
});

describe("eva", () => {
  const observe = async (folder: string, batch: Batch, head?: HeadChoice): Promise<ObservedInputs> => {
    const { model, store } = await openTinyModel({ folder: `${reference}${folder}`, attach: () => untouched, ...(head && { head }) });
    return observeInputs({ backend, model, store, linears: describeModel(model).linears, batches: [batch] });
  };
  const firstRows = async (inputs: ObservedInputs, tokens: "supervised" | "all"): Promise<Float32Array> => {
    for await (const rows of inputs.batches(tokens)) return rows[0]!;
    throw new Error("no batch");
  };
  const document = [3, 8, 7, 12, 9, 2];
  const example = { inputIds: Int32Array.from(document), labels: Int32Array.of(-100, 8, -100, -100, 9, -100), target: [1] };

  it("looks at the tokens that have a label: the next one in decoders, a hidden one in its own place", async () => {
    const width = 32;
    for (const [folder, batch, at] of [
      ["families/llama", collate([[example]], nextToken), [1, 4]],
      ["encoders/bert", collate([[example]], sameToken), [1, 4]],
    ] as const) {
      const inputs = await observe(folder, batch);
      const all = await firstRows(inputs, "all");
      expect([...(await firstRows(inputs, "supervised"))]).toEqual(at.flatMap((row) => [...all.slice(row * width, (row + 1) * width)]));
    }
  });

  it("looks at every token where a label is about the document", async () => {
    const head = { name: "sequence-classification", numLabels: 3 } as const;
    const batch = collate([[example]], wholeDocument({ pools: "last", target: "class" }));
    const inputs = await observe("label-heads/gpt2-single", batch, head);
    expect([...(await firstRows(inputs, "supervised"))]).toEqual([...(await firstRows(inputs, "all"))]);
  });

  it("gives no layer more than its matrix has room for", async () => {
    const random = createRandom(3);
    const layer = (module: string, outFeatures: number): LinearModule => ({ module, inFeatures: 32, outFeatures, layout: "out-in" });
    const groups = [[layer("narrow", 16)], [layer("wide", 64)]];
    // All directions of what the narrow layer reads matter, and one of the other's.
    const rows = groups.map((_, group) =>
      Float32Array.from({ length: 64 * 32 }, (_, i) => random.normal() * (group === 1 && i % 32 > 0 ? 0.01 : 1)),
    );
    const inputs: ObservedInputs = {
      ...{ groups, batchesInRound: 1 },
      async *batches() {
        for (;;) yield rows;
      },
    };
    const config = lora.configSchema.parse({ name: "lora", rank: 12, initLoraWeights: "eva" });
    const { given } = await findStart(config, { modules: new Set(["narrow", "wide"]), inputs });
    expect([given.get("narrow")!.length / 32, given.get("wide")!.length / 32]).toEqual([16, 8]);
  });
});

interface LoftqReference {
  bits: 4 | 8;
  iterations: number;
  weight: number[][];
  base: number[][];
  product: number[][];
}

describe.each(readdirSync(`${reference}lora-loftq`))("loftq %s", (file) => {
  const { bits, iterations, ...matrices } = JSON.parse(readFileSync(`${reference}lora-loftq/${file}`, "utf8")) as LoftqReference;
  const [weight, base, product] = [matrices.weight, matrices.base, matrices.product].map((rows) => Float32Array.from(rows.flat()));
  const linear: LinearModule = { module: "layer", inFeatures: 64, outFeatures: 24, layout: "out-in" };
  const storage =
    bits === 4
      ? nf4.storage({ format: "nf4", doubleQuantization: false, blockSize: 64 }, "out-in")
      : int8.storage({ format: "int8" }, "out-in");
  const shape = [24, 64];
  const roundTrip = (values: Float32Array) => storage.read(storage.quantise(values, shape), shape);

  it.each([1, 2])("has PEFT's base and product, at scale %d", async (scale) => {
    const config = lora.configSchema.parse({
      ...{ name: "lora", rank: 4, loraAlpha: 4 * scale, targetModules: ["layer"], initLoraWeights: "loftq", loftqIter: iterations },
    });
    const { model } = await openTinyModel({ folder: `${reference}families/llama`, attach: () => untouched });
    const method = lora.attach({ model, parameters: [], linears: [linear], quantised: { bits, roundTrip } }, config);
    const read = async (): Promise<ParameterData> => ({ shape, data: weight! });
    const random = createRandom(1);
    const [a, b] = await Promise.all(method.added.map((parameter) => parameter.initialise(random, read, read)));
    const target = (await method.changedBase?.get("layer.weight")?.(read, random)) ?? weight!;
    expect(method.changedBase?.has("layer.weight") ?? false).toBe(iterations > 1);
    // After the first round a code may fall to the other side of a boundary where PEFT's float32 rounds differently.
    const rounded = roundTrip(target);
    const differing = rounded.filter((value, i) => Math.abs(value - base![i]!) > 1e-6).length;
    expect(differing).toBeLessThanOrEqual(iterations === 1 ? 0 : 2);
    for (let o = 0; o < 24; o++)
      for (let i = 0; i < 64; i++) {
        let sum = 0;
        for (let r = 0; r < 4; r++) sum += scale * b![o * 4 + r]! * a![r * 64 + i]!;
        expect(Math.abs(sum - product![o * 64 + i]!)).toBeLessThan(1e-5);
      }
    const peft = method.adapter!.config("base");
    expect(peft.init_lora_weights).toBe(iterations > 1 ? "loftq" : true);
    if (iterations > 1) expect(peft.loftq_config).toEqual({ loftq_bits: bits, loftq_iter: iterations });
  });
});

it("loftq needs a quantised base", async () => {
  const config = lora.configSchema.parse({ name: "lora", initLoraWeights: "loftq" });
  const { model } = await openTinyModel({ folder: `${reference}families/llama`, attach: () => untouched });
  expect(() => lora.attach({ model, ...describeModel(model) }, config)).toThrow(/loftq starts from.*not quantised/);
});
