/** Arithmetic of two operands with NumPy broadcasting. */
import type { OpDefinition, Value } from "../graph.ts";
import { constant } from "./constant.ts";
import { broadcastResult, count, defineOp, forEachBroadcast, only, reduceToShape, referenceArray, requireSameDtype } from "./define.ts";
import { greaterOrEqual } from "./comparison.ts";
import { neg } from "./elementwise-unary.ts";
import { where } from "./where.ts";

interface Rule {
  evaluate(a: number, b: number): number;
  /** Gradients before broadcasting is undone. */
  gradient(g: Value, a: Value, b: Value): [() => Value, () => Value];
}

function binary(name: string, { evaluate, gradient }: Rule): OpDefinition {
  return defineOp({
    name,
    infer([a, b]) {
      requireSameDtype(name, a!, b!);
      return [{ dtype: a!.dtype, shape: broadcastResult(name, a!, b!) }];
    },
    gradient({ inputs: [a, b], outputGradients: [g] }) {
      const [left, right] = gradient(g!, a!, b!);
      return [reduceToShape(left(), a!.shape), reduceToShape(right(), b!.shape)];
    },
    reference([a, b], _, [shape]) {
      const data = new Float64Array(count(shape!));
      forEachBroadcast(shape!, [a!.shape, b!.shape], (at, [i, j]) => {
        data[at] = evaluate(a!.data[i!]!, b!.data[j!]!);
      });
      return [referenceArray(shape!, data)];
    },
  });
}

export const addOp = binary("add", { evaluate: (a, b) => a + b, gradient: (g) => [() => g, () => g] });
export const subOp = binary("sub", { evaluate: (a, b) => a - b, gradient: (g) => [() => g, () => neg(g)] });
export const mulOp = binary("mul", { evaluate: (a, b) => a * b, gradient: (g, a, b) => [() => mul(g, b), () => mul(g, a)] });
export const divOp = binary("div", {
  evaluate: (a, b) => a / b,
  gradient: (g, a, b) => [() => div(g, b), () => neg(div(mul(g, a), mul(b, b)))],
});
export const maximumOp = binary("maximum", {
  evaluate: Math.max,
  gradient: (g, a, b) => {
    const zero = constant(g.graph, 0);
    return [() => where(greaterOrEqual(a, b), g, zero), () => where(greaterOrEqual(a, b), zero, g)];
  },
});

const apply =
  (op: OpDefinition) =>
  (a: Value, b: Value | number): Value =>
    only(a.graph.add(op, [a, typeof b === "number" ? constant(a.graph, b, a.dtype) : b]));

export const add = apply(addOp);
export const sub = apply(subOp);
export const mul = apply(mulOp);
export const div = apply(divOp);
export const maximum = apply(maximumOp);
