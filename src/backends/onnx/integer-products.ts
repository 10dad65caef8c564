/**
 * Products of 8-bit integers on ONNX Runtime. The CPU rounds rows to codes with QuantizeLinear (unsigned, zero at 128: its fast kernels
 * multiply unsigned codes with signed ones) and scales columns while it multiplies. Other devices multiply the rounded numbers in float32.
 */
import { largestInt8, largestUint8 } from "../../tensor/ops/matmul-int8.ts";
import { type Dim, type Shape, sizeOf } from "../../tensor/shape.ts";
import type { DeviceName } from "../registry.ts";
import type { Emitter } from "./emitter.ts";
import type { Lowering } from "./lowerings.ts";
import { onnxDataType } from "./onnx-schema.ts";

export const matmulInt8: Lowering = ({ node, emitter, device, inputs: [x, codes, scales], outputs }) => {
  const [from, to] = [node.inputs[0]!.shape, node.outputs[0]!.shape];
  const rows = sizeOf(from.slice(0, -1));
  const table = emitter.reshape(x!, { from, to: [rows, from.at(-1)!] });
  const transposeB = node.attributes.transposeB as boolean;
  const product = emitInt8Product(emitter, { device, rows, x: table, codes: codes!, scales, transposeB });
  emitter.reshape(product, { from: [rows, to.at(-1)!], to, outputs });
};

export const roundRows: Lowering = ({ node, emitter, inputs: [x], outputs }) => {
  const { shape } = node.outputs[0]!;
  const rows = sizeOf(shape.slice(0, -1));
  const flat: Shape = [rows, shape.at(-1)!];
  const table = emitter.reshape(x!, { from: shape, to: flat });
  const { column } = emitSteps(emitter, { x: table, rows });
  const rounded = emitter.emit("Mul", [emitRounded(emitter, { x: table, column }), column]);
  emitter.reshape(rounded, { from: flat, to: shape, outputs });
};

export interface Int8Product {
  readonly device: DeviceName;
  /** Of x, [rows, K]. */
  readonly rows: Dim;
  readonly x: string;
  /** int8 [K, N], or [N, K] with transposeB. */
  readonly codes: string;
  /** float32 [N]. */
  readonly scales?: string | undefined;
  readonly transposeB?: boolean;
  /** No number of x is negative. */
  readonly isPositive?: boolean;
}

/** @returns the name of the result, [rows, N] */
export function emitInt8Product(emitter: Emitter, operands: Int8Product): string {
  const { device, rows, x, codes, scales, transposeB, isPositive } = operands;
  const { steps, column } = emitSteps(emitter, operands);
  const matrix = transposeB ? emitter.emit("Transpose", [codes], { attributes: { perm: [1, 0] } }) : codes;
  return emitter.emit("Mul", [device === "cpu" ? integers() : floats(), column]);

  function integers(): string {
    const [zero, one] = [emitter.scalar(isPositive ? 0 : 128, "uint8"), emitter.scalar(1, "float32")];
    const zeros = emitter.emit("Expand", [zero, emitter.shape([rows])]);
    const left = emitter.emit("QuantizeLinear", [x, steps, zeros], { attributes: { axis: 0 } });
    return emitter.emit("MatMulIntegerToFloat", [left, matrix, one, scales ?? one, zero], { domain: "com.microsoft" });
  }

  function floats(): string {
    const right = emitter.emit("Cast", [matrix], { attributes: { to: onnxDataType.float32 } });
    const sums = emitter.emit("MatMul", [emitRounded(emitter, { x, column }), right]);
    return scales ? emitter.emit("Mul", [sums, scales]) : sums;
  }
}

/** What one code of a row stands for, [rows] and as a column [rows, 1]. */
function emitSteps(
  emitter: Emitter,
  { x, rows, isPositive }: Pick<Int8Product, "x" | "rows" | "isPositive">,
): { readonly steps: string; readonly column: string } {
  const extreme = (op: "ReduceMax" | "ReduceMin"): string => emitter.emit(op, [x, emitter.int64s([1])], { attributes: { keepdims: 0 } });
  const largest = extreme("ReduceMax");
  const magnitude = isPositive ? largest : emitter.emit("Max", [largest, emitter.emit("Neg", [extreme("ReduceMin")])]);
  const steps = emitter.emit("Mul", [magnitude, emitter.scalar(1 / (isPositive ? largestUint8 : largestInt8), "float32")]);
  return { steps, column: emitter.reshape(steps, { from: [rows], to: [rows, 1] }) };
}

/** Rows in steps, rounded; those of zeros stay so. */
function emitRounded(emitter: Emitter, { x, column }: { readonly x: string; readonly column: string }): string {
  const isZero = emitter.emit("Equal", [column, emitter.scalar(0, "float32")]);
  const divisor = emitter.emit("Where", [isZero, emitter.scalar(1, "float32"), column]);
  return emitter.emit("Round", [emitter.emit("Div", [x, divisor])]);
}
