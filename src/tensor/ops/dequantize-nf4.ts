/** 4-bit NormalFloat codes to numbers. Dettmers et al. 2023, https://arxiv.org/abs/2305.14314. */
import { ShapeError } from "../../base/errors.ts";
import type { Value } from "../graph.ts";
import { count, defineOp, only, referenceArray } from "./define.ts";

/** The sixteen numbers that a code can stand for, as bitsandbytes has them. */
export const nf4Table = Float32Array.of(
  ...[-1, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334],
  ...[-0.09105003625154495, 0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224],
  ...[0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1],
);

export interface Nf4Options {
  /** Of the result. */
  readonly shape: readonly number[];
  /** Numbers that share one scale. */
  readonly blockSize: number;
}

export const dequantizeNf4Op = defineOp({
  name: "dequantizeNf4",
  infer([codes, absmax], attributes) {
    const { shape, blockSize } = attributes as unknown as Nf4Options;
    const blocks = Math.ceil(count(shape) / blockSize);
    const [bytes, scales] = [codes!.shape[0], absmax!.shape[0]];
    if (codes!.dtype !== "uint8" || codes!.shape.length !== 1 || bytes !== (blocks * blockSize) / 2)
      throw new ShapeError(`dequantizeNf4: expected uint8 codes [${(blocks * blockSize) / 2}], two to a byte, for [${shape.join(", ")}].`);
    if (absmax!.dtype !== "float32" || absmax!.shape.length !== 1 || typeof scales !== "number" || scales < blocks)
      throw new ShapeError(
        `dequantizeNf4: expected at least ${blocks} float32 scales for [${shape.join(", ")}] in blocks of ${blockSize}.`,
      );
    return [{ dtype: "float32", shape }];
  },
  reference([codes, absmax], attributes) {
    const { shape, blockSize } = attributes as unknown as Nf4Options;
    const data = Float64Array.from({ length: count(shape) }, (_, i) => {
      const byte = codes!.data[i >> 1]!;
      return nf4Table[i % 2 === 0 ? byte >> 4 : byte & 15]! * absmax!.data[Math.floor(i / blockSize)]!;
    });
    return [referenceArray(shape, data)];
  },
});

/** codes uint8 [n / 2] (the first of two in the high bits), padded to whole blocks; absmax [blocks or more] -> `shape`, row by row. */
export const dequantizeNf4 = (codes: Value, absmax: Value, options: Nf4Options): Value =>
  only(codes.graph.add(dequantizeNf4Op, [codes, absmax], { ...options }));
