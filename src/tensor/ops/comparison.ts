/** Comparisons and logic; results are bool, nothing here has a gradient. */

import { ShapeError } from "../../base/errors.ts";
import type { OpDefinition, Value } from "../graph.ts";
import { broadcastResult, count, defineOp, forEachBroadcast, only, referenceArray, requireSameDtype } from "./define.ts";

function predicate(
  name: string,
  { evaluate, logical = false }: { evaluate(a: number, b: number): boolean; logical?: boolean },
): OpDefinition {
  return defineOp({
    name,
    infer([a, b]) {
      requireSameDtype(name, a!, b!);
      if (logical && a!.dtype !== "bool") throw new ShapeError(`${name}: expected bool operands, got ${a!.dtype}.`);
      return [{ dtype: "bool" as const, shape: broadcastResult(name, a!, b!) }];
    },
    reference([a, b], _, [shape]) {
      const data = new Float64Array(count(shape!));
      forEachBroadcast(shape!, [a!.shape, b!.shape], (at, [i, j]) => {
        data[at] = Number(evaluate(a!.data[i!]!, b!.data[j!]!));
      });
      return [referenceArray(shape!, data)];
    },
  });
}

export const equalOp = predicate("equal", { evaluate: (a, b) => a === b });
export const greaterOrEqualOp = predicate("greaterOrEqual", { evaluate: (a, b) => a >= b });
export const lessOp = predicate("less", { evaluate: (a, b) => a < b });
export const logicalAndOp = predicate("logicalAnd", { evaluate: (a, b) => a !== 0 && b !== 0, logical: true });
export const logicalOrOp = predicate("logicalOr", { evaluate: (a, b) => a !== 0 || b !== 0, logical: true });

const apply =
  (op: OpDefinition) =>
  (a: Value, b: Value): Value =>
    only(a.graph.add(op, [a, b]));

export const equal = apply(equalOp);
export const greaterOrEqual = apply(greaterOrEqualOp);
export const less = apply(lessOp);
export const logicalAnd = apply(logicalAndOp);
export const logicalOr = apply(logicalOrOp);
