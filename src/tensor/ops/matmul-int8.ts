/**
 * A product with 8-bit codes that multiplies integers: every row of the left operand is scaled by its own largest magnitude to
 * -127..127 and rounded. It is the product of SwitchBack (Wortsman et al. 2023, https://arxiv.org/abs/2304.13013, section 2.2.1),
 * whose gradient by the left operand is such a product again: rounding passes gradients on as if it were not there.
 */
import { ShapeError } from "../../base/errors.ts";
import { roundHalfToEven } from "../../base/round-half-to-even.ts";
import type { Value } from "../graph.ts";
import { dimsEqual, showShape } from "../shape.ts";
import { count, defineOp, forEachRow, only, referenceArray, requireFloat, requireRows } from "./define.ts";

/** Codes of the left operand reach from -127 to 127, as those of LLM.int8() do; those of numbers that are never negative from 0 to 255. */
export const largestInt8 = 127;
export const largestUint8 = 255;

export interface MatmulInt8Options {
  readonly transposeB?: boolean;
  /** Multiplied into the columns of the result, float32 [columns]; ones where absent. */
  readonly scales?: Value | undefined;
}

export const matmulInt8Op = defineOp({
  name: "matmulInt8",
  infer([x, codes, scales], { transposeB }) {
    requireFloat("matmulInt8", x!);
    if (codes!.dtype !== "int8" || codes!.shape.length !== 2 || x!.shape.length < 2)
      throw new ShapeError(
        `matmulInt8: expected rows [..., K] and an int8 matrix, got ${x!.dtype}${showShape(x!.shape)} and ${codes!.dtype}${showShape(codes!.shape)}.`,
      );
    const [inner, columns] = transposeB ? [codes!.shape[1]!, codes!.shape[0]!] : [codes!.shape[0]!, codes!.shape[1]!];
    if (!dimsEqual(x!.shape.at(-1)!, inner))
      throw new ShapeError(`matmulInt8: inner dimensions differ: left ${showShape(x!.shape)}, codes ${showShape(codes!.shape)}.`);
    if (scales && (scales.dtype !== "float32" || scales.shape.length !== 1 || !dimsEqual(scales.shape[0]!, columns)))
      throw new ShapeError(`matmulInt8: expected float32 scales [${columns}], got ${scales.dtype}${showShape(scales.shape)}.`);
    return [{ dtype: "float32", shape: [...x!.shape.slice(0, -1), columns] }];
  },
  /** The codes of the rows, and the matrix turned. */
  scratch: ([x, codes]) => [{ dtype: "uint8", shape: x!.shape }, codes!],
  reference([x, codes, scales], { transposeB }, [shape]) {
    const K = x!.shape.at(-1)!;
    const columns = shape!.at(-1)!;
    const [strideK, strideColumn] = transposeB ? [1, K] : [columns, 1];
    const data = new Float64Array(count(shape!));
    for (let row = 0; row < data.length / columns; row++) {
      const { step, codes: left } = rowCodes(x!.data.subarray(row * K, (row + 1) * K));
      for (let column = 0; column < columns; column++) {
        let sum = 0;
        for (let k = 0; k < K; k++) sum += left[k]! * codes!.data[k * strideK + column * strideColumn]!;
        data[row * columns + column] = sum * step * (scales?.data[column] ?? 1);
      }
    }
    return [referenceArray(shape!, data)];
  },
});

/** x [..., K] as `matmulInt8` reads it: rounded row by row. */
export const roundRowsOp = defineOp({
  name: "roundRows",
  infer([x]) {
    requireFloat("roundRows", x!);
    requireRows("roundRows", x!);
    return [x!];
  },
  reference([x]) {
    const data = x!.data.slice();
    forEachRow(x!.shape, (start, width) => {
      const { step, codes } = rowCodes(data.subarray(start, start + width));
      codes.forEach((code, i) => {
        data[start + i] = code * step;
      });
    });
    return [referenceArray(x!.shape, data)];
  },
});

export const roundRows = (x: Value): Value => only(x.graph.add(roundRowsOp, [x]));

/** Reckoned in float32 as kernels do, since a number that lies between two codes goes to one of them. */
export function rowCodes(row: Float64Array, largestCode = largestInt8): { readonly step: number; readonly codes: Float64Array } {
  const largest = row.reduce((max, x) => Math.max(max, Math.abs(x)), 0);
  const step = Math.fround(Math.fround(largest) * Math.fround(1 / largestCode));
  return { step, codes: row.map((x) => (step === 0 ? 0 : roundHalfToEven(Math.fround(Math.fround(x) / step)))) };
}

/** x [..., K], codes int8 [K, N] or, with transposeB, [N, K] -> [..., N]: the rows of x rounded to 8 bits, times the codes, times the scales. */
export const matmulInt8 = (x: Value, codes: Value, { transposeB = false, scales }: MatmulInt8Options = {}): Value =>
  only(x.graph.add(matmulInt8Op, scales ? [x, codes, scales] : [x, codes], { transposeB }));
