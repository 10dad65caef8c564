/**
 * Rows dealt out to groups whose sizes only the data know, as a router deals tokens to experts: the order that brings the rows
 * of a group together, the dealing in that order and the collecting again, the cut into one tensor for each group, and the join.
 * Dealing and collecting are each other's gradient, as are cut and join.
 * The cut's pieces have named sizes, which its second operand decides.
 */
import { ShapeError } from "../../base/errors.ts";
import type { TensorType, Value } from "../graph.ts";
import { type Dim, dim, dimsEqual, multiplyDims, type Shape, showShape } from "../shape.ts";
import { count, defineOp, only, referenceArray } from "./define.ts";

const requireVector = (op: string, { dtype, shape }: TensorType): void => {
  if (dtype !== "int64" || shape.length !== 1) throw new ShapeError(`${op}: expected int64 of rank 1, got ${dtype}${showShape(shape)}.`);
};

export const groupRowsOp = defineOp({
  name: "groupRows",
  infer([groupOf], { groups }) {
    requireVector("groupRows", groupOf!);
    return [
      { dtype: "int64", shape: groupOf!.shape },
      { dtype: "int64", shape: [groups as number] },
      { dtype: "int64", shape: groupOf!.shape },
    ];
  },
  reference([groupOf], _, [shape, groups]) {
    const order = Float64Array.from(groupOf!.data.keys()).sort((a, b) => groupOf!.data[a]! - groupOf!.data[b]! || a - b);
    const sizes = new Float64Array(groups![0]!);
    for (const group of groupOf!.data) {
      if (!(group >= 0 && group < sizes.length)) throw new ShapeError(`groupRows: group ${group} is not one of 0 to ${sizes.length - 1}.`);
      sizes[group]!++;
    }
    const places = new Float64Array(order.length);
    for (const [place, row] of order.entries()) places[row] = place;
    return [referenceArray(shape!, order), referenceArray(groups!, sizes), referenceArray(shape!, places)];
  },
});

/** Rows of the side that is not dealt out. */
function requireDealt(op: string, { order, places }: { order: TensorType; places: TensorType }): Dim {
  requireVector(op, order);
  requireVector(op, places);
  return order.shape[0]!;
}

export const dealRowsOp = defineOp({
  name: "dealRows",
  infer([x, order, places], { copies }) {
    const rows = requireDealt("dealRows", { order: order!, places: places! });
    if (x!.shape.length === 0 || !dimsEqual(multiplyDims(x!.shape[0]!, copies as number), rows))
      throw new ShapeError(`dealRows: ${copies} copies of ${showShape(x!.shape)} are not the rows of an order ${showShape(order!.shape)}.`);
    return [{ dtype: x!.dtype, shape: [rows, ...x!.shape.slice(1)] }];
  },
  reference([x, order], { copies }, [shape]) {
    const width = count(shape!.slice(1));
    const data = new Float64Array(count(shape!));
    for (const [place, row] of order!.data.entries()) {
      const from = Math.floor(row / (copies as number)) * width;
      data.set(x!.data.subarray(from, from + width), place * width);
    }
    return [referenceArray(shape!, data)];
  },
});

export const collectRowsOp = defineOp({
  name: "collectRows",
  infer([x, order, places], { copies, rows }) {
    const dealt = requireDealt("collectRows", { order: order!, places: places! });
    if (!dimsEqual(multiplyDims(rows as Dim, copies as number), dealt) || !dimsEqual(x!.shape[0] ?? 0, dealt))
      throw new ShapeError(
        `collectRows: ${showShape(x!.shape)} is not ${copies} copies of ${showShape([rows as Dim])} rows in an order ${showShape(order!.shape)}.`,
      );
    return [{ dtype: x!.dtype, shape: [rows as Dim, ...x!.shape.slice(1)] }];
  },
  reference([x, order], { copies }, [shape]) {
    const width = count(shape!.slice(1));
    const data = new Float64Array(count(shape!));
    for (const [place, row] of order!.data.entries()) {
      const to = Math.floor(row / (copies as number)) * width;
      for (let i = 0; i < width; i++) data[to + i]! += x!.data[place * width + i]!;
    }
    return [referenceArray(shape!, data)];
  },
});

const namesOf = (sizes: unknown): string[] => (sizes as Dim[]).map(String);

export const splitGroupsOp = defineOp({
  name: "splitGroups",
  infer([x, sizes], attributes) {
    requireVector("splitGroups", sizes!);
    const pieces = attributes.sizes as Dim[];
    if (sizes!.shape[0] !== pieces.length)
      throw new ShapeError(`splitGroups: ${pieces.length} groups; expected sizes [${pieces.length}], got ${showShape(sizes!.shape)}.`);
    return pieces.map((size) => ({ dtype: x!.dtype, shape: [size, ...x!.shape.slice(1)] }));
  },
  decides: {
    names: ({ sizes }) => namesOf(sizes),
    sizes: ([, sizes]) => [...sizes!.data],
    /** As many to each, rounded up. */
    likely: ([x], { sizes }) => {
      const names = namesOf(sizes);
      return names.map(() => Math.ceil(x![0]! / names.length));
    },
  },
  reference([x], _, shapes) {
    const width = count(x!.shape.slice(1));
    let row = 0;
    return shapes.map((shape) => {
      const piece = referenceArray(shape, x!.data.slice(row * width, (row + shape[0]!) * width));
      row += shape[0]!;
      return piece;
    });
  },
});

export const joinGroupsOp = defineOp({
  name: "joinGroups",
  infer([sizes, ...pieces], { rows }) {
    requireVector("joinGroups", sizes!);
    const rest = pieces[0]!.shape.slice(1);
    for (const { shape, dtype } of pieces) {
      if (dtype !== pieces[0]!.dtype || shape.length !== rest.length + 1 || !rest.every((d, i) => dimsEqual(d, shape[i + 1]!)))
        throw new ShapeError(
          `joinGroups: ${dtype}${showShape(shape)} does not fit under ${pieces[0]!.dtype}${showShape(pieces[0]!.shape)}.`,
        );
    }
    return [{ dtype: pieces[0]!.dtype, shape: [rows as Dim, ...rest] as Shape }];
  },
  reference([, ...pieces], _, [shape]) {
    const data = new Float64Array(count(shape!));
    let at = 0;
    for (const piece of pieces) {
      data.set(piece.data, at);
      at += piece.data.length;
    }
    return [referenceArray(shape!, data)];
  },
});

export interface RowOrder {
  /** The rows by group and inside a group as they stood, int64 [R]. */
  readonly order: Value;
  /** Where each row stands in that order, int64 [R]. */
  readonly places: Value;
}

/** groupOf int64 [R], each of 0 to groups - 1 -> their order, and `sizes` int64 [groups]. */
export function groupRows(groupOf: Value, groups: number): RowOrder & { readonly sizes: Value } {
  const [order, sizes, places] = groupOf.graph.add(groupRowsOp, [groupOf], { groups });
  return { order: order!, sizes: sizes!, places: places! };
}

/** x [N, ...rest], each row `copies` times, in an order of N * copies rows: row `i` of the result is row `order[i] / copies`, rounded down, of x. */
export const dealRows = (x: Value, { order, places, copies }: RowOrder & { copies: number }): Value =>
  only(x.graph.add(dealRowsOp, [x, order, places], { copies }));

/** What was dealt, back where it came from: x [rows * copies, ...rest] -> [rows, ...rest], the copies of a row added up. */
export const collectRows = (x: Value, { order, places, copies, rows }: RowOrder & { copies: number; rows: Dim }): Value =>
  only(x.graph.add(collectRowsOp, [x, order, places], { copies, rows }));

/** x [R, ...rest] cut into one piece [named size, ...rest] for each group, where `sizes` int64 [groups] add up to R. */
export function splitGroups(x: Value, sizes: Value): readonly Value[] {
  // Equal graphs get equal names, and no graph gets one twice.
  const at = x.graph.nodes.length;
  return splitAs(
    x,
    sizes,
    Array.from({ length: Number(sizes.shape[0]) }, (_, group) => dim(`rows.${at}.${group}`)),
  );
}

/** The same with names for the sizes, those of an earlier cut. */
export const splitAs = (x: Value, sizes: Value, names: readonly Dim[]): readonly Value[] =>
  x.graph.add(splitGroupsOp, [x, sizes], { sizes: [...names] });

/** The pieces of a cut, joined again: -> [rows, ...rest]. */
export const joinGroups = (pieces: readonly Value[], { sizes, rows }: { sizes: Value; rows: Dim }): Value =>
  only(sizes.graph.add(joinGroupsOp, [sizes, ...pieces], { rows }));
