/** Repeats dimensions of size 1 up to a shape. */
import { ShapeError } from "../../base/errors.ts";
import type { Value } from "../graph.ts";
import { broadcastShapes, type Shape, shapesEqual, showShape } from "../shape.ts";
import { count, defineOp, forEachBroadcast, only, referenceArray } from "./define.ts";

export const broadcastToOp = defineOp({
  name: "broadcastTo",
  infer([x], attributes) {
    const shape = attributes.shape as Shape;
    if (!shapesEqual(broadcastShapes(x!.shape, shape), shape))
      throw new ShapeError(`broadcastTo: ${showShape(x!.shape)} does not broadcast to ${showShape(shape)}.`);
    return [{ dtype: x!.dtype, shape }];
  },
  reference([x], _, [shape]) {
    const data = new Float64Array(count(shape!));
    forEachBroadcast(shape!, [x!.shape], (at, [i]) => {
      data[at] = x!.data[i!]!;
    });
    return [referenceArray(shape!, data)];
  },
});

export const broadcastTo = (x: Value, shape: Shape): Value =>
  shapesEqual(x.shape, shape) ? x : only(x.graph.add(broadcastToOp, [x], { shape }));
