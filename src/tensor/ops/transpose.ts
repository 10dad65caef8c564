/** Dimensions in another order. */
import { ShapeError } from "../../base/errors.ts";
import type { Value } from "../graph.ts";
import { count, defineOp, only, referenceArray } from "./define.ts";

export const transposeOp = defineOp({
  name: "transpose",
  infer([x], attributes) {
    const permutation = attributes.permutation as number[];
    const rank = x!.shape.length;
    if ([...permutation].sort((a, b) => a - b).some((axis, i) => axis !== i) || permutation.length !== rank) {
      throw new ShapeError(`transpose: [${permutation}] is not an order of the ${rank} dimensions.`);
    }
    return [{ dtype: x!.dtype, shape: permutation.map((axis) => x!.shape[axis]!) }];
  },
  reference([x], attributes, [shape]) {
    const permutation = attributes.permutation as number[];
    const strides = x!.shape.map((_, i) => count(x!.shape.slice(i + 1)));
    const data = new Float64Array(x!.data.length);
    const index = new Array<number>(shape!.length).fill(0);
    for (let at = 0; at < data.length; at++) {
      let from = 0;
      for (let d = 0; d < index.length; d++) from += index[d]! * strides[permutation[d]!]!;
      data[at] = x!.data[from]!;
      for (let d = index.length - 1; d >= 0 && ++index[d]! === shape![d]; d--) index[d] = 0;
    }
    return [referenceArray(shape!, data)];
  },
});

export const transpose = (x: Value, permutation: readonly number[]): Value =>
  permutation.every((axis, i) => axis === i) ? x : only(x.graph.add(transposeOp, [x], { permutation: [...permutation] }));
