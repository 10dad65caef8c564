/** Joining tensors along an axis, and the reverse: cutting one into parts. Each is the other's gradient. */
import { ShapeError } from "../../base/errors.ts";
import type { Value } from "../graph.ts";
import { addDims, type Dim, dimsEqual, type Shape, showShape, subtractDims } from "../shape.ts";
import { count, defineOp, normaliseAxis, only, referenceArray } from "./define.ts";

const withAxis = (shape: Shape, axis: number, size: Dim): Shape => shape.map((d, i) => (i === axis ? size : d));

export const concatOp = defineOp({
  name: "concat",
  infer(inputs, attributes) {
    const axis = attributes.axis as number;
    const [first] = inputs;
    for (const { shape, dtype } of inputs) {
      const fits =
        dtype === first!.dtype &&
        shape.length === first!.shape.length &&
        shape.every((d, i) => i === axis || dimsEqual(d, first!.shape[i]!));
      if (!fits)
        throw new ShapeError(
          `concat along axis ${axis}: ${dtype}${showShape(shape)} does not fit beside ${first!.dtype}${showShape(first!.shape)}.`,
        );
    }
    return [{ dtype: first!.dtype, shape: withAxis(first!.shape, axis, addDims(...inputs.map(({ shape }) => shape[axis]!))) }];
  },
  reference(inputs, attributes, [shape]) {
    const axis = attributes.axis as number;
    const data = new Float64Array(count(shape!));
    const inner = count(shape!.slice(axis + 1));
    const outer = count(shape!.slice(0, axis));
    let offset = 0;
    for (const { shape: part, data: from } of inputs) {
      const run = part[axis]! * inner;
      for (let o = 0; o < outer; o++) data.set(from.subarray(o * run, (o + 1) * run), o * shape![axis]! * inner + offset);
      offset += run;
    }
    return [referenceArray(shape!, data)];
  },
});

export const splitOp = defineOp({
  name: "split",
  infer([x], attributes) {
    const { axis, sizes } = attributes as { axis: number; sizes: Dim[] };
    if (!dimsEqual(addDims(...sizes), x!.shape[axis]!))
      throw new ShapeError(`split: sizes ${showShape(sizes)} do not add up to ${x!.shape[axis]}, axis ${axis} of ${showShape(x!.shape)}.`);
    return sizes.map((size) => ({ dtype: x!.dtype, shape: withAxis(x!.shape, axis, size) }));
  },
  reference([x], attributes, shapes) {
    const axis = attributes.axis as number;
    const inner = count(x!.shape.slice(axis + 1));
    const outer = count(x!.shape.slice(0, axis));
    let offset = 0;
    return shapes.map((shape) => {
      const run = shape[axis]! * inner;
      const data = new Float64Array(count(shape));
      for (let o = 0; o < outer; o++)
        data.set(x!.data.subarray(o * x!.shape[axis]! * inner + offset, o * x!.shape[axis]! * inner + offset + run), o * run);
      offset += run;
      return referenceArray(shape, data);
    });
  },
});

export const concat = (values: readonly Value[], axis: number): Value =>
  values.length === 1 ? values[0]! : only(values[0]!.graph.add(concatOp, values, { axis: normaliseAxis(axis, values[0]!.shape.length) }));

export const split = (x: Value, axis: number, sizes: readonly Dim[]): readonly Value[] =>
  sizes.length === 1 && dimsEqual(sizes[0]!, x.shape[normaliseAxis(axis, x.shape.length)]!)
    ? [x]
    : x.graph.add(splitOp, [x], { axis: normaliseAxis(axis, x.shape.length), sizes: [...sizes] });

/** `size` elements from `start` along an axis. @throws ShapeError if they are not all inside, as far as the sizes are numbers */
export function slice(x: Value, axis: number, { start, size }: { start: Dim; size: Dim }): Value {
  const at = normaliseAxis(axis, x.shape.length);
  const total = x.shape[at]!;
  const parts = [start, size, subtractDims(subtractDims(total, start), size)];
  if (parts.some((part) => typeof part === "number" && part < 0)) {
    throw new ShapeError(`slice: ${size} elements from ${start} are not inside ${total}, axis ${at} of ${showShape(x.shape)}.`);
  }
  const kept = parts.map((part, i) => ({ part, isSlice: i === 1 })).filter(({ part, isSlice }) => isSlice || part !== 0);
  return split(
    x,
    axis,
    kept.map(({ part }) => part),
  )[kept.findIndex(({ isSlice }) => isSlice)]!;
}
