/** The distributions of noise and dropout: the noise is a hash of seed and place, so every figure here is the same in each run. */
import { describe, expect, it } from "vitest";
import { SegmentBuilder } from "../models/segment-builder.ts";
import { float32 } from "../models/storage.ts";
import { gradients } from "../tensor/autodiff.ts";
import type { Graph, Value } from "../tensor/graph.ts";
import { interpret } from "../tensor/interpret.ts";
import { embeddingNoise, residualDropout } from "./regularisers.ts";

const [B, T, C] = [4, 64, 40];
const size = B * T * C;

/** Values [B, T, C] after a hook, for a seed. */
function apply(hook: (value: Value, build: SegmentBuilder) => Value, { seed, isTraining = true }: { seed: number; isTraining?: boolean }) {
  const build = new SegmentBuilder({ prefix: "", hooks: [], isTraining, storageOf: () => float32 });
  const value = build.graph.input("value", { dtype: "float32", shape: [B, T, C] });
  const result = hook(value, build);
  build.graph.output("result", result);
  const one = build.graph.input("one", { dtype: "float32", shape: [B, T, C] });
  const [gradient] = gradients({ graph: build.graph, outputs: [{ value: result, gradient: one }], wrt: [value] });
  build.graph.output("gradient", gradient!);
  return run(build.graph, seed);
}

const input = Float64Array.from({ length: size }, (_, i) => Math.fround(0.5 + (i % 7)));

function run(graph: Graph, seed: number) {
  const shape = [B, T, C];
  const all = {
    value: { shape, data: input },
    one: { shape, data: new Float64Array(size).fill(1) },
    seed: { shape: [], data: Float64Array.of(seed) },
  };
  const wanted = Object.fromEntries(Object.entries(all).filter(([name]) => graph.inputs.has(name)));
  const { result, gradient } = interpret(graph, wanted);
  return { result: result!.data, gradient: gradient!.data };
}

const mean = (values: ArrayLike<number>): number => Array.from(values).reduce((sum, x) => sum + x, 0) / values.length;
const correlation = (a: readonly number[], b: readonly number[]): number => {
  const [ma, mb] = [mean(a), mean(b)];
  const product = (x: readonly number[], mx: number, y: readonly number[], my: number): number =>
    mean(x.map((value, i) => (value - mx) * (y[i]! - my)));
  return product(a, ma, b, mb) / Math.sqrt(product(a, ma, a, ma) * product(b, mb, b, mb));
};
/** Four standard errors of a correlation of independent numbers. */
const noCorrelation = 4 / Math.sqrt(size);

describe("NEFTune", () => {
  const alpha = 5;
  const hooks = embeddingNoise({ alpha, sequenceLength: T });
  const noiseOf = (seed: number): number[] => Array.from(apply(hooks.embedding!, { seed }).result, (x, i) => x - input[i]!);
  const magnitude = alpha / Math.sqrt(T * C);
  const noise = noiseOf(3);

  it("is uniform between plus and minus alpha / sqrt(T C)", () => {
    const unit = noise.map((x) => (x / magnitude + 1) / 2).sort((a, b) => a - b);
    expect(unit[0]).toBeGreaterThanOrEqual(0);
    expect(unit.at(-1)).toBeLessThanOrEqual(1);
    // Kolmogorov and Smirnov: the largest distance to the uniform distribution stays below 1.63 / sqrt(n) in 99 of 100 samples.
    expect(Math.max(...unit.map((x, i) => Math.abs(x - (i + 0.5) / size)))).toBeLessThan(1.63 / Math.sqrt(size));
  });

  it("has mean 0, variance alpha^2 / (3 T C), and so the expected square norm alpha^2 / 3 in a sequence", () => {
    const squares = noise.map((x) => x * x);
    expect(Math.abs(mean(noise))).toBeLessThan((4 * magnitude) / Math.sqrt(3 * size));
    // The variance of a squared uniform number is 4/45 of the fourth power of its magnitude.
    expect(Math.abs(mean(squares) - magnitude ** 2 / 3)).toBeLessThan(4 * magnitude ** 2 * Math.sqrt(4 / 45 / size));
    expect(mean(squares) * T * C).toBeCloseTo(alpha ** 2 / 3, 1);
  });

  it("is independent from place to place and from seed to seed, and the same for the same seed", () => {
    expect(noiseOf(3)).toEqual(noise);
    expect(Math.abs(correlation(noise, noiseOf(4)))).toBeLessThan(noCorrelation);
    for (const lag of [1, C, T * C])
      expect(Math.abs(correlation(noise.slice(lag), noise.slice(0, -lag)))).toBeLessThan(noCorrelation * 1.2);
  });

  it("leaves gradients as they are", () => {
    expect(apply(hooks.embedding!, { seed: 3 }).gradient.every((x) => x === 1)).toBe(true);
  });
});

describe.each([0.1, 0.5])("dropout with p = %d, as torch's", (p) => {
  const place = { module: "attention", input: undefined as never } as const;
  const drop = (value: Value, build: SegmentBuilder): Value => residualDropout(p).residual!(value, build, place);
  const { result, gradient } = apply(drop, { seed: 8 });
  const kept = Array.from(result, (x) => Number(x !== 0));

  it("keeps a value with probability 1 - p, divided by 1 - p, and makes others 0", () => {
    for (const [i, x] of result.entries()) if (x !== 0) expect(x).toBeCloseTo(input[i]! / (1 - p), 6);
    expect(Math.abs(mean(kept) - (1 - p))).toBeLessThan(4 * Math.sqrt((p * (1 - p)) / size));
    expect(mean(result) / mean(input)).toBeCloseTo(1, 1);
  });

  it("passes the gradient through the same values, with the same factor", () => {
    for (const [i, g] of gradient.entries()) expect(g).toBeCloseTo(kept[i]! / (1 - p), 6);
  });

  it("drops other values for another seed, and at another place of the same graph", () => {
    const other = Array.from(apply(drop, { seed: 9 }).result, (x) => Number(x !== 0));
    expect(Math.abs(correlation(kept, other))).toBeLessThan(noCorrelation);
    // Twice in a row keeps (1 - p)^2 only if the two are independent.
    const twice = apply((value, build) => drop(drop(value, build), build), { seed: 8 }).result;
    const share = mean(Array.from(twice, (x) => Number(x !== 0)));
    expect(Math.abs(share - (1 - p) ** 2)).toBeLessThan(4 * Math.sqrt(0.25 / size));
    for (const [i, x] of twice.entries()) if (x !== 0) expect(x).toBeCloseTo(input[i]! / (1 - p) ** 2, 5);
  });

  it("does nothing outside training", () => {
    expect(apply(drop, { seed: 8, isTraining: false }).result).toEqual(input);
  });
});
