/** Sums, means and maxima over axes. */
import type { OpDefinition, Value } from "../graph.ts";
import type { Dim } from "../shape.ts";
import { count, defineOp, forEachBroadcast, normaliseAxis, only, referenceArray, requireFloat } from "./define.ts";

interface Options {
  readonly keepDims?: boolean;
}

function reduction(name: string, rule: { start: number; combine(total: number, x: number): number; mean?: boolean }): OpDefinition {
  return defineOp({
    name,
    infer([x], attributes) {
      requireFloat(name, x!);
      const { axes, keepDims } = attributes as { axes: number[]; keepDims: boolean };
      const shape = x!.shape.flatMap((d, i): Dim[] => (axes.includes(i) ? (keepDims ? [1] : []) : [d]));
      return [{ dtype: x!.dtype, shape }];
    },
    reference([x], attributes, [shape]) {
      const { axes } = attributes as { axes: number[] };
      const kept = x!.shape.map((n, i) => (axes.includes(i) ? 1 : n));
      const data = new Float64Array(count(kept)).fill(rule.start);
      forEachBroadcast(x!.shape, [kept], (at, [to]) => {
        data[to!] = rule.combine(data[to!]!, x!.data[at]!);
      });
      const divisor = rule.mean ? count(x!.shape) / count(kept) : 1;
      return [
        referenceArray(
          shape!,
          data.map((value) => value / divisor),
        ),
      ];
    },
  });
}

export const reduceSumOp = reduction("reduceSum", { start: 0, combine: (total, x) => total + x });
export const reduceMeanOp = reduction("reduceMean", { start: 0, combine: (total, x) => total + x, mean: true });
export const reduceMaxOp = reduction("reduceMax", { start: Number.NEGATIVE_INFINITY, combine: Math.max });

const apply =
  (op: OpDefinition) =>
  (x: Value, axes: readonly number[], { keepDims = false }: Options = {}): Value =>
    axes.length === 0
      ? x
      : only(x.graph.add(op, [x], { axes: axes.map((axis) => normaliseAxis(axis, x.shape.length)).sort((a, b) => a - b), keepDims }));

export const reduceSum = apply(reduceSumOp);
export const reduceMean = apply(reduceMeanOp);
/** No gradient: use it behind stopGradient. */
export const reduceMax = apply(reduceMaxOp);
