/**
 * Rows dealt out to groups whose sizes only the data know, as a router deals tokens to experts: the order that brings the rows
 * of a group together, the cut into one tensor for each group, and the join. Cut and join are each other's gradient.
 * The cut's pieces have named sizes, which its second operand decides.
 */
import { ShapeError } from "../../base/errors.ts";
import type { TensorType, Value } from "../graph.ts";
import { type Dim, dim, dimsEqual, type Shape, showShape } from "../shape.ts";
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
    ];
  },
  reference([groupOf], _, [shape, groups]) {
    const order = Float64Array.from(groupOf!.data.keys()).sort((a, b) => groupOf!.data[a]! - groupOf!.data[b]! || a - b);
    const sizes = new Float64Array(groups![0]!);
    for (const group of groupOf!.data) {
      if (!(group >= 0 && group < sizes.length)) throw new ShapeError(`groupRows: group ${group} is not one of 0 to ${sizes.length - 1}.`);
      sizes[group]!++;
    }
    return [referenceArray(shape!, order), referenceArray(groups!, sizes)];
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

/** groupOf int64 [R], each of 0 to groups - 1 -> `order` int64 [R], the rows by group and inside a group as they stood; `sizes` int64 [groups]. */
export function groupRows(groupOf: Value, groups: number): { readonly order: Value; readonly sizes: Value } {
  const [order, sizes] = groupOf.graph.add(groupRowsOp, [groupOf], { groups });
  return { order: order!, sizes: sizes! };
}

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
