/** Merges against PEFT's add_weighted_adapter (factors and products) and against torch (whole tensors); then what DARE's own draws look like. */
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { createRandom, type Random } from "../../src/base/random.ts";
import { adapterMethods, productOf } from "../../src/export/merging/adapter-methods.ts";
import type { Combiner } from "../../src/export/merging/combiners/combiner.ts";
import { combiners } from "../../src/export/merging/combiners/registry.ts";
import { readLoraSource } from "../../src/export/merging/lora-source.ts";
import { mergeAdapters } from "../../src/export/merging/merge-adapters.ts";
import { keepRandom } from "../../src/export/merging/task-vectors.ts";
import { openFolder } from "../../src/platform/node/files.ts";
import { expectSummary, type Summary } from "./expect-summary.ts";
import { reference } from "./tiny-model.ts";

const read = <T>(file: string): T => JSON.parse(readFileSync(`${reference}merging/${file}`, "utf8")) as T;

/** The stream that the reference script puts in place of torch.bernoulli. */
function recordedRandom(): Random {
  let drawn = 0;
  return { ...createRandom(0), next: () => (0.5 + drawn++ * 0.6180339887498949) % 1 };
}

interface AdapterCase {
  adapters: string[];
  weights: number[];
  combinationType: string;
  density?: number;
  majoritySignMethod?: string;
  svdRank?: number;
  factors?: Record<string, Summary>;
  products?: Record<string, Summary>;
}
const adapterCases = read<{ cases: Record<string, AdapterCase> }>("adapters.json").cases;

describe("adapters, as PEFT merges them", () => {
  it.each(Object.keys(adapterCases))("%s", async (name) => {
    const { adapters, weights, combinationType, factors, products, ...options } = adapterCases[name]!;
    const method = adapterMethods.find((known) => known.name === combinationType)!;
    const merged = mergeAdapters({
      sources: await Promise.all(adapters.map((adapter) => readLoraSource(openFolder(`${reference}merging/adapters/${adapter}`)))),
      ...{ weights, method },
      config: method.configSchema.parse({ name: combinationType, ...options }),
      randomFor: recordedRandom,
    });
    expect(merged.size).toBe(factors ? Object.keys(factors).length / 2 : Object.keys(products!).length);
    for (const [tensor, summary] of Object.entries(factors ?? {})) {
      const [, module, factor] = /^(.*)\.lora_([AB])\.weight$/.exec(tensor)!;
      expectSummary(tensor, merged.get(module!)![factor === "A" ? "a" : "b"], summary, 1e-6);
    }
    for (const [module, summary] of Object.entries(products ?? {})) {
      expect(merged.get(module)!.scale).toBe(1);
      expectSummary(module, productOf(merged.get(module)!), summary, 2e-6);
    }
  });

  it("every combination type has a case", () =>
    expect([...new Set(Object.values(adapterCases).map(({ combinationType }) => combinationType))].sort()).toEqual(
      adapterMethods.map(({ name }) => name).sort(),
    ));
});

type Tensors = Record<string, number[] | number[][]>;
const models = read<{
  base: Tensors;
  models: Tensors[];
  near: Tensors;
  weights: number[];
  cases: Record<string, { method: { name: string }; merged: Tensors }>;
}>("models.json");
const flat = (tensor: number[] | number[][]): Float32Array => Float32Array.from(tensor.flat());

describe("whole tensors", () => {
  it.each(Object.keys(models.cases))("%s", (name) => {
    const { method, merged } = models.cases[name]!;
    const combiner = (combiners as readonly Combiner[]).find((known) => known.name === method.name)!;
    const sources = name === "slerp" ? models.models.slice(0, 2) : name === "slerp-parallel" ? [models.base, models.near] : models.models;
    for (const [tensor, expected] of Object.entries(merged)) {
      const base = flat(models.base[tensor]!);
      const weights = sources.map((source) => flat(source[tensor]!));
      const given = combiner.of === "weights" ? weights : weights.map((weight) => weight.map((x, i) => x - base[i]!));
      const options = { weights: models.weights, random: recordedRandom() };
      const combined = combiner.combine(given, options, combiner.configSchema.parse(method));
      const found = combiner.of === "weights" ? combined : combined.map((x, i) => x + base[i]!);
      flat(expected).forEach((value, i) => expect(Math.abs(found[i]! - value), `${tensor}[${i}]`).toBeLessThan(1e-6));
    }
  });

  it("every combiner has a case", () =>
    expect([...new Set(Object.values(models.cases).map(({ method }) => method.name))].sort()).toEqual(
      combiners.map(({ name }) => name).sort(),
    ));
});

describe("DARE's own draws", () => {
  const ones = new Float32Array(20_000).fill(1);
  it("keep the share asked for and the expected vector, and repeat with the seed", () => {
    const kept = keepRandom(ones, 0.3, createRandom(7));
    const share = kept.filter((x) => x !== 0).length / ones.length;
    expect(Math.abs(share - 0.3)).toBeLessThan(4 * Math.sqrt((0.3 * 0.7) / ones.length)); // four standard errors
    expect([...new Set(kept)].sort()).toEqual([0, Math.fround(1 / 0.3)]);
    expect(keepRandom(ones, 0.3, createRandom(7))).toEqual(kept);
    expect(keepRandom(ones, 0.3, createRandom(8))).not.toEqual(kept);
  });
});
