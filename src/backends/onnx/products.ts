/**
 * Matrix products, whose operands may stand transposed and whose result may be scaled. ONNX Runtime's CPU and CUDA do all of that in one
 * kernel, FusedMatMul. WebGPU has none (onnxruntime 1.30) and would send each such product to the CPU, there and back; Gemm takes
 * transposes there of two matrices, and where there are more, the operands are turned first.
 */
import type { DType } from "../../tensor/dtype.ts";
import type { MatmulOptions } from "../../tensor/ops/matmul.ts";
import { type Shape, sizeOf } from "../../tensor/shape.ts";
import type { DeviceName } from "../registry.ts";
import type { Emitter } from "./emitter.ts";
import { onnxDataType } from "./onnx-schema.ts";

export interface Operand {
  readonly name: string;
  readonly shape: Shape;
}

export interface ProductOptions extends MatmulOptions {
  readonly device: DeviceName;
  readonly dtype: DType;
  /** Of the result. */
  readonly shape: Shape;
  readonly outputs?: readonly string[];
}

/** @returns the name of the result */
export function emitProduct(emitter: Emitter, [a, b]: readonly [Operand, Operand], options: ProductOptions): string {
  const { device, shape, transposeA = false, transposeB = false, alpha = 1 } = options;
  const given = options.outputs && { outputs: options.outputs };
  if (!transposeA && !transposeB && alpha === 1) return emitter.emit("MatMul", [a.name, b.name], given);
  if (device !== "webgpu") {
    const attributes = { transA: Number(transposeA), transB: Number(transposeB), alpha: { float: alpha } };
    return emitter.emit("FusedMatMul", [a.name, b.name], { domain: "com.microsoft", attributes, ...given });
  }
  const isMatrix = ({ shape }: Operand): boolean => shape.length === 2;
  if (isMatrix(b) && (isMatrix(a) || !transposeA)) {
    const attributes = { transA: Number(transposeA), transB: Number(transposeB), alpha: { float: alpha } };
    if (isMatrix(a)) return emitter.emit("Gemm", [a.name, b.name], { attributes, ...given });
    // A batch of rows that one matrix multiplies.
    const rows: Shape = [sizeOf(a.shape.slice(0, -1)), a.shape.at(-1)!];
    const flat = emitter.reshape(a.name, { from: a.shape, to: rows });
    const product = emitter.emit("Gemm", [flat, b.name], { attributes });
    return emitter.reshape(product, { from: [rows[0]!, shape.at(-1)!], to: shape, ...given });
  }
  const scaled = alpha === 1 ? a.name : emitter.emit("Mul", [a.name, scalar(emitter, alpha, options.dtype)]);
  const left = transposeA ? turned(emitter, { ...a, name: scaled }) : scaled;
  return emitter.emit("MatMul", [left, transposeB ? turned(emitter, b) : b.name], given);
}

/** The last two axes exchanged. */
function turned(emitter: Emitter, { name, shape }: Operand): string {
  const last = shape.length - 1;
  return emitter.emit("Transpose", [name], { attributes: { perm: [...shape.keys()].slice(0, -2).concat(last, last - 1) } });
}

function scalar(emitter: Emitter, value: number, dtype: DType): string {
  const float = emitter.scalar(value, "float32");
  return dtype === "float32" ? float : emitter.emit("Cast", [float], { attributes: { to: onnxDataType[dtype] } });
}
