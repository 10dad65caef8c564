/** Rows of a table by index, and its gradient: rows added into zeros. */
import { ShapeError } from "../../base/errors.ts";
import type { ReferenceArray, TensorType, Value } from "../graph.ts";
import { type Dim, dimsEqual, type Shape, showShape } from "../shape.ts";
import { count, defineOp, only, referenceArray } from "./define.ts";

function requireIndices(op: string, { dtype }: TensorType): void {
  if (dtype !== "int64") throw new ShapeError(`${op}: indices are ${dtype}; expected int64.`);
}

function requireInRange(op: string, { data }: ReferenceArray, rows: number): void {
  const outside = data.find((row) => !(row >= 0 && row < rows));
  if (outside !== undefined) throw new ShapeError(`${op}: index ${outside} is out of range; expected 0 to ${rows - 1}.`);
}

export const gatherOp = defineOp({
  name: "gather",
  infer([table, indices]) {
    requireIndices("gather", indices!);
    if (table!.shape.length === 0) throw new ShapeError("gather: expected a table of rank 1 or more, got a scalar.");
    return [{ dtype: table!.dtype, shape: [...indices!.shape, ...table!.shape.slice(1)] }];
  },
  reference([table, indices], _, [shape]) {
    const width = count(table!.shape.slice(1));
    const data = new Float64Array(count(shape!));
    requireInRange("gather", indices!, table!.shape[0]!);
    indices!.data.forEach((row, i) => data.set(table!.data.subarray(row * width, (row + 1) * width), i * width));
    return [referenceArray(shape!, data)];
  },
});

export const scatterAddRowsOp = defineOp({
  name: "scatterAddRows",
  infer([indices, updates], { rows }) {
    requireIndices("scatterAddRows", indices!);
    const rank = indices!.shape.length;
    if (!updates!.shape.slice(0, rank).every((d, i) => dimsEqual(d, indices!.shape[i]!))) {
      throw new ShapeError(
        `scatterAddRows: updates ${showShape(updates!.shape)} do not start with the shape of the indices ${showShape(indices!.shape)}.`,
      );
    }
    return [{ dtype: updates!.dtype, shape: [rows as Dim, ...updates!.shape.slice(rank)] as Shape }];
  },
  reference([indices, updates], _, [shape]) {
    const width = count(shape!.slice(1));
    const data = new Float64Array(count(shape!));
    requireInRange("scatterAddRows", indices!, shape![0]!);
    indices!.data.forEach((row, i) => {
      for (let j = 0; j < width; j++) data[row * width + j]! += updates!.data[i * width + j]!;
    });
    return [referenceArray(shape!, data)];
  },
});

/** table [N, ...rest], indices int64 [...] -> [..., ...rest]. */
export const gather = (table: Value, indices: Value): Value => only(table.graph.add(gatherOp, [table, indices]));
/** Zeros [rows, ...rest] with updates [..., ...rest] added at indices int64 [...]; repeated indices add up. */
export const scatterAddRows = (indices: Value, updates: Value, rows: Dim): Value =>
  only(updates.graph.add(scatterAddRowsOp, [indices, updates], { rows }));
