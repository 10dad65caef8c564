/** Shared pieces of operation definitions: type checks, and broadcasting in shapes and in the reference interpreter. */
import { ShapeError } from "../../base/errors.ts";
import type { OpDefinition, ReferenceArray, TensorType, Value } from "../graph.ts";
import { broadcastShapes, type Shape, showShape } from "../shape.ts";

export const defineOp = <Op extends OpDefinition>(op: Op): Op => op;

/** The one output of a node. */
export const only = (values: readonly Value[]): Value => values[0]!;

/** A non-negative axis. @throws ShapeError if it is out of range */
export function normaliseAxis(axis: number, rank: number): number {
  const at = axis < 0 ? axis + rank : axis;
  if (!Number.isInteger(axis) || at < 0 || at >= rank)
    throw new ShapeError(`axis ${axis} is out of range for a tensor of rank ${rank}; expected ${-rank} to ${rank - 1}.`);
  return at;
}

export function requireSameDtype(op: string, a: TensorType, b: TensorType): void {
  if (a.dtype !== b.dtype)
    throw new ShapeError(
      `${op}: element types differ: left ${a.dtype}${showShape(a.shape)}, right ${b.dtype}${showShape(b.shape)}. Cast one operand.`,
    );
}

export function requireFloat(op: string, x: TensorType): void {
  if (x.dtype !== "float32") throw new ShapeError(`${op}: expected float32, got ${x.dtype}${showShape(x.shape)}. Cast the operand.`);
}

/** For operations over the last axis. */
export function requireRows(op: string, x: TensorType): void {
  if (x.shape.length === 0) throw new ShapeError(`${op}: expected rank 1 or more, got a scalar.`);
}

export function broadcastResult(op: string, a: TensorType, b: TensorType): Shape {
  try {
    return broadcastShapes(a.shape, b.shape);
  } catch (error) {
    throw new ShapeError(`${op}: ${(error as Error).message}`);
  }
}

export const count = (shape: readonly number[]): number => shape.reduce((product, n) => product * n, 1);

/** Row-major strides; 0 along dimensions of size 1, so that indices broadcast. */
export function broadcastStrides(shape: readonly number[], rank: number): number[] {
  const strides = new Array<number>(rank).fill(0);
  let step = 1;
  for (let i = shape.length - 1; i >= 0; i--) {
    strides[rank - shape.length + i] = shape[i] === 1 ? 0 : step;
    step *= shape[i]!;
  }
  return strides;
}

/** Calls `visit` with the offset into each operand, for every element of `shape` in row-major order. */
export function forEachBroadcast(
  shape: readonly number[],
  operands: readonly (readonly number[])[],
  visit: (at: number, offsets: readonly number[]) => void,
): void {
  const strides = operands.map((operand) => broadcastStrides(operand, shape.length));
  const index = new Array<number>(shape.length).fill(0);
  const offsets = new Array<number>(operands.length).fill(0);
  const total = count(shape);
  for (let at = 0; at < total; at++) {
    visit(at, offsets);
    for (let d = shape.length - 1; d >= 0; d--) {
      index[d]!++;
      for (let o = 0; o < offsets.length; o++) offsets[o]! += strides[o]![d]!;
      if (index[d]! < shape[d]!) break;
      for (let o = 0; o < offsets.length; o++) offsets[o]! -= strides[o]![d]! * shape[d]!;
      index[d] = 0;
    }
  }
}

export const referenceArray = (shape: readonly number[], data: Float64Array = new Float64Array(count(shape))): ReferenceArray => ({
  shape,
  data,
});

/** Last dimension as rows: calls `visit(row start)`. */
export function forEachRow(shape: readonly number[], visit: (start: number, width: number) => void): void {
  const width = shape.at(-1)!;
  for (let start = 0; start < count(shape); start += width) visit(start, width);
}
