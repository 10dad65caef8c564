/** Whole numbers from 0 up. */
import type { Graph, Value } from "../graph.ts";
import type { Dim } from "../shape.ts";
import { defineOp, only, referenceArray } from "./define.ts";

export const rangeOp = defineOp({
  name: "range",
  infer: (_, { size }) => [{ dtype: "int64", shape: [size as Dim] }],
  reference: (_inputs, _attributes, [shape]) => [
    referenceArray(
      shape!,
      Float64Array.from({ length: shape![0]! }, (_, i) => i),
    ),
  ],
});

/** int64 [size]: 0, 1, ... size - 1. */
export const range = (graph: Graph, size: Dim): Value => only(graph.add(rangeOp, [], { size }));
