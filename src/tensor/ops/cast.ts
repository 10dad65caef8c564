/** Change of element type. */
import type { DType } from "../dtype.ts";
import type { Value } from "../graph.ts";
import { defineOp, only } from "./define.ts";

export const castOp = defineOp({
  name: "cast",
  infer: ([x], { dtype }) => [{ dtype: dtype as DType, shape: x!.shape }],
  reference: ([x]) => [x!],
});

export const cast = (x: Value, dtype: DType): Value => (x.dtype === dtype ? x : only(x.graph.add(castOp, [x], { dtype })));
