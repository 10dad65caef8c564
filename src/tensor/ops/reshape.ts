/** The same elements under another shape. */
import { ShapeError } from "../../base/errors.ts";
import type { Value } from "../graph.ts";
import { dimsEqual, type Shape, shapesEqual, showShape, sizeOf } from "../shape.ts";
import { defineOp, only, referenceArray } from "./define.ts";

export const reshapeOp = defineOp({
  name: "reshape",
  infer([x], attributes) {
    const shape = attributes.shape as Shape;
    if (!dimsEqual(sizeOf(x!.shape), sizeOf(shape)))
      throw new ShapeError(
        `reshape: ${showShape(x!.shape)} and ${showShape(shape)} differ in size (${sizeOf(x!.shape)} vs ${sizeOf(shape)}).`,
      );
    return [{ dtype: x!.dtype, shape }];
  },
  reference: ([x], _, [shape]) => [referenceArray(shape!, x!.data)],
});

export const reshape = (x: Value, shape: Shape): Value => (shapesEqual(x.shape, shape) ? x : only(x.graph.add(reshapeOp, [x], { shape })));
