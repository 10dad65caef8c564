/** Arithmetic of two operands with NumPy broadcasting. */
import type { OpDefinition, Value } from "../graph.ts";
import { constant } from "./constant.ts";
import { broadcastResult, count, defineOp, forEachBroadcast, only, referenceArray, requireSameDtype } from "./define.ts";

function binary(name: string, evaluate: (a: number, b: number) => number): OpDefinition {
  return defineOp({
    name,
    infer([a, b]) {
      requireSameDtype(name, a!, b!);
      return [{ dtype: a!.dtype, shape: broadcastResult(name, a!, b!) }];
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

export const addOp = binary("add", (a, b) => a + b);
export const subOp = binary("sub", (a, b) => a - b);
export const mulOp = binary("mul", (a, b) => a * b);
export const divOp = binary("div", (a, b) => a / b);
export const maximumOp = binary("maximum", Math.max);

const apply =
  (op: OpDefinition) =>
  (a: Value, b: Value | number): Value =>
    only(a.graph.add(op, [a, typeof b === "number" ? constant(a.graph, b, a.dtype) : b]));

export const add = apply(addOp);
export const sub = apply(subOp);
export const mul = apply(mulOp);
export const div = apply(divOp);
export const maximum = apply(maximumOp);
