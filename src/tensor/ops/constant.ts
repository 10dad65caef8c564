/** Scalars and zeros that need no input. */
import type { DType } from "../dtype.ts";
import type { Graph, Value } from "../graph.ts";
import type { Shape } from "../shape.ts";
import { defineOp, only, referenceArray } from "./define.ts";

export const constantOp = defineOp({
  name: "constant",
  infer: (_, { dtype }) => [{ dtype: dtype as DType, shape: [] }],
  reference: (_, { value }) => [referenceArray([], Float64Array.of(value as number))],
});

export const zerosOp = defineOp({
  name: "zeros",
  infer: (_, { shape, dtype }) => [{ dtype: dtype as DType, shape: shape as Shape }],
  reference: (_inputs, _attributes, [shape]) => [referenceArray(shape!)],
});

/** A scalar, shape []. */
export const constant = (graph: Graph, value: number, dtype: DType = "float32"): Value => only(graph.add(constantOp, [], { value, dtype }));
export const zeros = (graph: Graph, shape: Shape, dtype: DType = "float32"): Value => only(graph.add(zerosOp, [], { shape, dtype }));
