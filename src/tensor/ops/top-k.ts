/** Where the largest elements of rows are. */
import { ShapeError } from "../../base/errors.ts";
import type { Value } from "../graph.ts";
import { showShape } from "../shape.ts";
import { defineOp, forEachRow, only, referenceArray, requireFloat, requireRows } from "./define.ts";

export const topKOp = defineOp({
  name: "topK",
  infer([x], attributes) {
    requireFloat("topK", x!);
    requireRows("topK", x!);
    const [k, width] = [attributes.k as number, x!.shape.at(-1)!];
    if (!(k >= 1 && (typeof width !== "number" || k <= width)))
      throw new ShapeError(`topK: k is ${k}; expected 1 to the last size of ${showShape(x!.shape)}.`);
    return [{ dtype: "int64", shape: [...x!.shape.slice(0, -1), k] }];
  },
  reference([x], attributes, [shape]) {
    const k = attributes.k as number;
    const found: number[] = [];
    forEachRow(x!.shape, (start, width) => {
      const row = x!.data.subarray(start, start + width);
      found.push(...[...row.keys()].sort((a, b) => row[b]! - row[a]! || a - b).slice(0, k));
    });
    return [referenceArray(shape!, Float64Array.from(found))];
  },
});

/** x [..., N] -> int64 [..., k]: indices of the k largest, the largest first; of equal ones the first. Nothing flows back. */
export const topK = (x: Value, k: number): Value => only(x.graph.add(topKOp, [x], { k }));
