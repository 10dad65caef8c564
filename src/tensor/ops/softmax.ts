/** Softmax and its normaliser over the last axis. */
import type { Value } from "../graph.ts";
import { count, defineOp, forEachRow, only, referenceArray, requireFloat, requireRows } from "./define.ts";

export const softmaxOp = defineOp({
  name: "softmax",
  infer([x]) {
    requireFloat("softmax", x!);
    requireRows("softmax", x!);
    return [{ dtype: x!.dtype, shape: x!.shape }];
  },
  reference([x]) {
    const data = new Float64Array(x!.data.length);
    forEachRow(x!.shape, (start, width) => {
      const normaliser = rowLogSumExp(x!.data, start, width);
      for (let i = start; i < start + width; i++) data[i] = Math.exp(x!.data[i]! - normaliser);
    });
    return [referenceArray(x!.shape, data)];
  },
});

export const logSumExpOp = defineOp({
  name: "logSumExp",
  infer([x]) {
    requireFloat("logSumExp", x!);
    requireRows("logSumExp", x!);
    return [{ dtype: x!.dtype, shape: x!.shape.slice(0, -1) }];
  },
  reference([x], _, [shape]) {
    const data = new Float64Array(count(shape!));
    let row = 0;
    forEachRow(x!.shape, (start, width) => {
      data[row++] = rowLogSumExp(x!.data, start, width);
    });
    return [referenceArray(shape!, data)];
  },
});

export function rowLogSumExp(data: Float64Array, start: number, width: number): number {
  let max = Number.NEGATIVE_INFINITY;
  for (let i = start; i < start + width; i++) max = Math.max(max, data[i]!);
  let sum = 0;
  for (let i = start; i < start + width; i++) sum += Math.exp(data[i]! - max);
  return max + Math.log(sum);
}

export const softmax = (x: Value): Value => only(x.graph.add(softmaxOp, [x]));
/** log(sum(exp(x))) over the last axis, which goes away. */
export const logSumExp = (x: Value): Value => only(x.graph.add(logSumExpOp, [x]));
