import { expect, it } from "vitest";
import { Graph } from "../../tensor/graph.ts";
import { attention } from "./attention.ts";

it.each([
  [15, "kept"],
  [16, "made again"],
])("with %i heads of 64 the output is %s for the backward pass, beside query, key and value", (numHeads, fate) => {
  const graph = new Graph();
  const [query, key, value] = ["query", "key", "value"].map((name) =>
    graph.input(name, { dtype: "float32", shape: [1, 8, (name === "query" ? numHeads : 1) * 64] }),
  );
  const mask = graph.input("mask", { dtype: "float32", shape: [1, 1, 1, 8, 8] });
  const { output } = attention({
    ...{ query: query!, key: key!, value: value!, numHeads, numKeyValueHeads: 1, headDim: 64, scale: 1 / 8, masks: [mask] },
  });
  expect(output.shape).toEqual([1, 8, numHeads * 64]);
  expect([graph.kept.has(output), graph.kept.size]).toEqual(fate === "kept" ? [true, 4] : [false, 3]);
});
