import { describe, expect, it } from "vitest";
import type { DType } from "../../tensor/dtype.ts";
import type { ReferenceArray } from "../../tensor/graph.ts";
import { interpret } from "../../tensor/interpret.ts";
import { mul } from "../../tensor/ops/index.ts";
import type { ModelHooks } from "../segment-builder.ts";
import { SegmentBuilder } from "../segment-builder.ts";
import { plain } from "../storage.ts";
import { sumOverVocabulary } from "./vocabulary.ts";

const [V, C] = [7, 3];
const vocabulary = { name: "embed.weight", shape: [V, C], kind: "embedding" } as const;
const filled = (...shape: number[]): ReferenceArray => ({
  shape,
  data: Float64Array.from({ length: shape.reduce((a, b) => a * b) }, (_, i) => 3 * Math.sin(i + 1)),
});
const table = filled(V, C);

interface SumsOptions {
  readonly frozen: boolean;
  readonly cutsTrained?: boolean;
  readonly most: number;
  readonly dtype?: DType;
  readonly hooks?: ModelHooks[];
}

function sums({ frozen, cutsTrained = false, most, dtype = "float32", hooks = [] }: SumsOptions) {
  const storage = { storageOf: () => plain(dtype), isFrozen: () => frozen, cutsTrained };
  const build = new SegmentBuilder({ prefix: "", hooks, isTraining: true, ...storage });
  const features = build.graph.input("features", { dtype: "float32", shape: [2, C] });
  const { normaliser, largest } = sumOverVocabulary({ features, vocabulary }, build, most);
  build.graph.output("normaliser", normaliser);
  build.graph.output("largest", largest);
  const pieces = [...build.pieces].map(([name, { start, end }]): [string, ReferenceArray] => [
    name,
    { shape: [end - start, C], data: table.data.slice(start * C, end * C) },
  ]);
  const results = interpret(build.graph, { features: filled(2, C), "embed.weight": table, ...Object.fromEntries(pieces) });
  return { numbers: ["normaliser", "largest"].flatMap((name) => [...results[name]!.data]), pieces: build.pieces, graph: build.graph };
}

describe("sumOverVocabulary", () => {
  it("gives the same sums in pieces as over the whole matrix", () => {
    const whole = sums({ frozen: false, most: 3 });
    const pieces = sums({ frozen: true, most: 3 });
    expect([...pieces.pieces.values()].map(({ start, end }) => [start, end])).toEqual([
      [0, 3],
      [3, 6],
      [6, 7],
    ]);
    expect(whole.pieces.size).toBe(0);
    for (const [i, number] of whole.numbers.entries()) expect(pieces.numbers[i]).toBeCloseTo(number, 12);
  });

  it("takes a trained matrix in pieces where its gradient may come in pieces", () => {
    const whole = sums({ frozen: false, most: 3 });
    const pieces = sums({ frozen: false, cutsTrained: true, most: 3 });
    expect(pieces.pieces.size).toBe(3);
    for (const [i, number] of whole.numbers.entries()) expect(pieces.numbers[i]).toBeCloseTo(number, 12);
  });

  it("casts a matrix in half precision piece by piece", () => {
    const { graph } = sums({ frozen: true, most: 4, dtype: "bfloat16" });
    const used = new Set(graph.nodes.filter(({ op }) => op.name === "projectedLogSumExp").flatMap(({ inputs }) => inputs));
    expect([...used].filter(({ producer }) => producer?.op.name === "cast").map(({ shape }) => shape)).toEqual([
      [4, C],
      [3, C],
    ]);
  });

  it("takes a matrix that a method changes whole", () => {
    const doubling: ModelHooks = { parameter: ({ value }) => mul(value, 2) };
    expect(sums({ frozen: true, most: 3, hooks: [doubling] }).pieces.size).toBe(0);
  });
});
