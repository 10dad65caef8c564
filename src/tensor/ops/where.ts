/** condition ? a : b, with broadcasting of all three. */
import { ShapeError } from "../../base/errors.ts";
import type { Value } from "../graph.ts";
import { broadcastShapes } from "../shape.ts";
import { broadcastResult, count, defineOp, forEachBroadcast, only, referenceArray, requireSameDtype } from "./define.ts";

export const whereOp = defineOp({
  name: "where",
  infer([condition, a, b]) {
    requireSameDtype("where", a!, b!);
    if (condition!.dtype !== "bool") throw new ShapeError(`where: the condition is ${condition!.dtype}; expected bool.`);
    return [{ dtype: a!.dtype, shape: broadcastShapes(condition!.shape, broadcastResult("where", a!, b!)) }];
  },
  reference([condition, a, b], _, [shape]) {
    const data = new Float64Array(count(shape!));
    forEachBroadcast(shape!, [condition!.shape, a!.shape, b!.shape], (at, [c, i, j]) => {
      data[at] = condition!.data[c!] ? a!.data[i!]! : b!.data[j!]!;
    });
    return [referenceArray(shape!, data)];
  },
});

export const where = (condition: Value, a: Value, b: Value): Value => only(a.graph.add(whereOp, [condition, a, b]));
