/**
 * Log-sum-exp over the scores of every row of a table: what cross-entropy needs of the logits, without the logits themselves.
 * The mean row under the softmax of the scores is the gradient, so it is made in the same go while the scores are at hand.
 * With a soft cap c the scores are c tanh(s / c), and rows count 1 - tanh^2 times as much in the gradient.
 * A table of 8-bit codes is multiplied as `matmulInt8` does, by x and by the softmax, whose codes have no sign.
 */
import { ShapeError } from "../../base/errors.ts";
import type { Value } from "../graph.ts";
import { dimsEqual, shapesEqual, showShape } from "../shape.ts";
import { count, defineOp, referenceArray, requireFloat } from "./define.ts";
import { stopGradient } from "./elementwise-unary.ts";
import { largestUint8, rowCodes } from "./matmul-int8.ts";
import { rowLogSumExp } from "./softmax.ts";

/** Outputs: log-sum-exp [N], largest score [N], mean row (the gradient of the first) [N, C]. */
export const projectedLogSumExpOp = defineOp({
  name: "projectedLogSumExp",
  infer([x, table, scales]) {
    requireFloat("projectedLogSumExp", x!);
    if (!scales) requireFloat("projectedLogSumExp", table!);
    else if (table!.dtype !== "int8" || scales.dtype !== "float32" || !shapesEqual(scales.shape, table!.shape.slice(0, 1)))
      throw new ShapeError(
        `projectedLogSumExp: expected int8 codes [V, C] and float32 scales [V], got ${table!.dtype}${showShape(table!.shape)} and ${scales.dtype}${showShape(scales.shape)}.`,
      );
    if (x!.shape.length !== 2 || table!.shape.length !== 2 || !dimsEqual(x!.shape[1]!, table!.shape[1]!))
      throw new ShapeError(
        `projectedLogSumExp: expected x [N, C] and a table [V, C], got ${showShape(x!.shape)} and ${showShape(table!.shape)}.`,
      );
    const rows = { dtype: x!.dtype, shape: [x!.shape[0]!] };
    return [rows, rows, { dtype: x!.dtype, shape: x!.shape }];
  },
  /** Scores, and their softmax. */
  scratch([x, table]) {
    const scores = { dtype: x!.dtype, shape: [x!.shape[0]!, table!.shape[0]!] };
    return [scores, scores];
  },
  reference([x, table, scales], { softCap }, [rows, , shape]) {
    const bend = (score: number): number => (softCap === undefined ? score : (softCap as number) * Math.tanh(score / (softCap as number)));
    const slope = (bent: number): number => (softCap === undefined ? 1 : 1 - (bent / (softCap as number)) ** 2);
    const [N, C] = shape as [number, number];
    const V = table!.shape[0]!;
    const [sums, largest, means] = [new Float64Array(count(rows!)), new Float64Array(count(rows!)), new Float64Array(N * C)];
    const asRead = (row: Float64Array, largestCode?: number): Float64Array => {
      if (!scales) return row;
      const { step, codes } = rowCodes(row, largestCode);
      return codes.map((code) => code * step);
    };
    for (let n = 0; n < N; n++) {
      const scores = new Float64Array(V);
      const row = asRead(x!.data.subarray(n * C, (n + 1) * C));
      for (let v = 0; v < V; v++) {
        for (let c = 0; c < C; c++) scores[v]! += row[c]! * table!.data[v * C + c]!;
        scores[v] = bend(scores[v]! * (scales?.data[v] ?? 1));
      }
      largest[n] = scores.reduce((max, score) => Math.max(max, score), Number.NEGATIVE_INFINITY);
      sums[n] = rowLogSumExp(scores, 0, V);
      const pull = asRead(
        scores.map((score, v) => Math.exp(score - sums[n]!) * slope(score) * (scales?.data[v] ?? 1)),
        largestUint8,
      );
      for (let v = 0; v < V; v++) for (let c = 0; c < C; c++) means[n * C + c]! += pull[v]! * table!.data[v * C + c]!;
    }
    return [referenceArray(rows!, sums), referenceArray(rows!, largest), referenceArray(shape!, means)];
  },
});

export interface ProjectedOptions {
  /** Of a table of int8 codes: what a row of it is multiplied with, float32 [V]. */
  readonly scales?: Value | undefined;
  /** Scores are bent to stay below this. */
  readonly softCap?: number | undefined;
}

/** @param x [N, C] @param table [V, C], at least one row; float32, or int8 with scales */
export function projectedLogSumExp(
  x: Value,
  table: Value,
  { softCap, scales }: ProjectedOptions = {},
): { readonly logSumExp: Value; readonly largest: Value } {
  const [sum, largest] = x.graph.add(
    projectedLogSumExpOp,
    scales ? [x, table, scales] : [x, table],
    softCap === undefined ? {} : { softCap },
  );
  return { logSumExp: sum!, largest: stopGradient(largest!) };
}
