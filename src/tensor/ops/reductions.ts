/** Sums, means and maxima over axes. */
import type { OpDefinition, Value } from "../graph.ts";
import { type Dim, sizeOf } from "../shape.ts";
import { count, defineOp, forEachBroadcast, normaliseAxis, only, referenceArray, requireFloat } from "./define.ts";
import { broadcastTo } from "./broadcast-to.ts";
import { mul } from "./elementwise-binary.ts";
import { reshape } from "./reshape.ts";

interface Options {
  readonly keepDims?: boolean;
}

function reduction(name: string, rule: { start: number; combine(total: number, x: number): number; mean?: boolean; gradient?: OpDefinition["gradient"] }): OpDefinition {
  return defineOp({
    name,
    infer([x], attributes) {
      requireFloat(name, x!);
      const { axes, keepDims } = attributes as { axes: number[]; keepDims: boolean };
      const shape = x!.shape.flatMap((d, i): Dim[] => (axes.includes(i) ? (keepDims ? [1] : []) : [d]));
      return [{ dtype: x!.dtype, shape }];
    },
    ...(rule.gradient && { gradient: rule.gradient }),
    reference([x], attributes, [shape]) {
      const { axes } = attributes as { axes: number[] };
      const kept = x!.shape.map((n, i) => (axes.includes(i) ? 1 : n));
      const data = new Float64Array(count(kept)).fill(rule.start);
      forEachBroadcast(x!.shape, [kept], (at, [to]) => {
        data[to!] = rule.combine(data[to!]!, x!.data[at]!);
      });
      const divisor = rule.mean ? count(x!.shape) / count(kept) : 1;
      return [referenceArray(shape!, data.map((value) => value / divisor))];
    },
  });
}

/** The gradient of a sum, spread back over the axes. */
function spreadBack(g: Value, x: Value, axes: readonly number[]): Value {
  return broadcastTo(reshape(g, x.shape.map((d, i) => (axes.includes(i) ? 1 : d))), x.shape);
}

export const reduceSumOp = reduction("reduceSum", {
  start: 0,
  combine: (total, x) => total + x,
  gradient: ({ node, inputs: [x], outputGradients: [g] }) => [spreadBack(g!, x!, node.attributes.axes as number[])],
});
export const reduceMeanOp = reduction("reduceMean", {
  start: 0,
  combine: (total, x) => total + x,
  mean: true,
  gradient({ node, inputs: [x], outputGradients: [g] }) {
    const axes = node.attributes.axes as number[];
    const size = sizeOf(axes.map((axis) => x!.shape[axis]!));
    // A mean over a named size would need that size as a value; nothing asks for its gradient today.
    if (typeof size !== "number") throw new Error(`reduceMean: no gradient over the named size ${size}; use reduceSum.`);
    return [mul(spreadBack(g!, x!, axes), 1 / size)];
  },
});
export const reduceMaxOp = reduction("reduceMax", { start: Number.NEGATIVE_INFINITY, combine: Math.max });

const apply =
  (op: OpDefinition) =>
  (x: Value, axes: readonly number[], { keepDims = false }: Options = {}): Value =>
    axes.length === 0 ? x : only(x.graph.add(op, [x], { axes: axes.map((axis) => normaliseAxis(axis, x.shape.length)).sort((a, b) => a - b), keepDims }));

export const reduceSum = apply(reduceSumOp);
export const reduceMean = apply(reduceMeanOp);
/** No gradient: use it behind stopGradient. */
export const reduceMax = apply(reduceMaxOp);
