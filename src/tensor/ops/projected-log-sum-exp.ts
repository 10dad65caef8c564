/**
 * Log-sum-exp over the scores of every row of a table: what cross-entropy needs of the logits, without the logits themselves.
 * The mean row under the softmax of the scores is the gradient, so it is made in the same go while the scores are at hand.
 * With a soft cap c the scores are c tanh(s / c), and rows count 1 - tanh^2 times as much in the gradient.
 */
import { ShapeError } from "../../base/errors.ts";
import type { Value } from "../graph.ts";
import { dimsEqual, showShape } from "../shape.ts";
import { count, defineOp, referenceArray, requireFloat } from "./define.ts";
import { stopGradient } from "./elementwise-unary.ts";
import { rowLogSumExp } from "./softmax.ts";

/** Outputs: log-sum-exp [N], largest score [N], mean row (the gradient of the first) [N, C]. */
export const projectedLogSumExpOp = defineOp({
  name: "projectedLogSumExp",
  infer([x, table]) {
    requireFloat("projectedLogSumExp", x!);
    requireFloat("projectedLogSumExp", table!);
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
  reference([x, table], { softCap }, [rows, , shape]) {
    const bend = (score: number): number => (softCap === undefined ? score : (softCap as number) * Math.tanh(score / (softCap as number)));
    const slope = (bent: number): number => (softCap === undefined ? 1 : 1 - (bent / (softCap as number)) ** 2);
    const [N, C] = shape as [number, number];
    const V = table!.shape[0]!;
    const [sums, largest, means] = [new Float64Array(count(rows!)), new Float64Array(count(rows!)), new Float64Array(N * C)];
    for (let n = 0; n < N; n++) {
      const scores = new Float64Array(V);
      for (let v = 0; v < V; v++) for (let c = 0; c < C; c++) scores[v]! += x!.data[n * C + c]! * table!.data[v * C + c]!;
      scores.forEach((score, v) => {
        scores[v] = bend(score);
      });
      largest[n] = scores.reduce((max, score) => Math.max(max, score), Number.NEGATIVE_INFINITY);
      sums[n] = rowLogSumExp(scores, 0, V);
      for (let v = 0; v < V; v++)
        for (let c = 0; c < C; c++) means[n * C + c]! += Math.exp(scores[v]! - sums[n]!) * slope(scores[v]!) * table!.data[v * C + c]!;
    }
    return [referenceArray(rows!, sums), referenceArray(rows!, largest), referenceArray(shape!, means)];
  },
});

export interface ProjectedOptions {
  /** Scores are bent to stay below this. */
  readonly softCap?: number | undefined;
}

/** @param x [N, C] @param table [V, C], at least one row */
export function projectedLogSumExp(
  x: Value,
  table: Value,
  { softCap }: ProjectedOptions = {},
): { readonly logSumExp: Value; readonly largest: Value } {
  const [sum, largest] = x.graph.add(projectedLogSumExpOp, [x, table], softCap === undefined ? {} : { softCap });
  return { logSumExp: sum!, largest: stopGradient(largest!) };
}
