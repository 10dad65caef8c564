/**
 * 4-bit weights on ONNX Runtime. Its CPU has one kernel that reads them, MatMulBnb4: x W^T with W decoded in passing, which
 * costs 0.4 ns a weight. It has none that only decodes, so there the same kernel multiplies the codes, laid out as one column,
 * by a one (1.2 ns a weight; a table look-up by Gather takes 3). Its `transB: 0` gives wrong numbers on the CPU (onnxruntime
 * 1.30), so the backward pass, dY W, decodes first. Other devices look up.
 */
import type { Node, Value } from "../../tensor/graph.ts";
import { type Nf4Options, nf4Table } from "../../tensor/ops/dequantize-nf4.ts";
import type { MatmulOptions } from "../../tensor/ops/matmul.ts";
import { largestInt8 } from "../../tensor/ops/matmul-int8.ts";
import { type Shape, sizeOf } from "../../tensor/shape.ts";
import type { DeviceName } from "../registry.ts";
import type { Emitter } from "./emitter.ts";
import type { Lowering, LoweringContext } from "./lowerings.ts";
import { onnxDataType } from "./onnx-schema.ts";

/** [x, codes, absmax] where a product x W^T can read W's codes by itself. */
export function quantisedProduct({ op, inputs: [x, weight], attributes }: Node, device: DeviceName): readonly Value[] | undefined {
  if (device !== "cpu" || op.name !== "matmul" || weight!.producer?.op.name !== "dequantizeNf4") return undefined;
  const { transposeA, transposeB, alpha } = attributes as MatmulOptions;
  const fits = !transposeA && transposeB && alpha === 1 && weight!.shape.length === 2;
  return fits ? [x!, ...weight!.producer.inputs] : undefined;
}

export function emitQuantisedProduct({ node, emitter, inputs: [x, codes, absmax], outputs }: LoweringContext): void {
  const { shape, blockSize } = node.inputs[1]!.producer!.attributes as unknown as Nf4Options;
  emitMatMulBnb4(emitter, [x!, codes!, absmax!], { N: shape[0]!, K: shape[1]!, blockSize, outputs });
}

export const dequantizeNf4: Lowering = ({ node, emitter, device, inputs: [codes, absmax], outputs }) => {
  const { shape, blockSize } = node.attributes as unknown as Nf4Options;
  const size = shape.reduce((product, n) => product * n, 1);
  if (device === "cpu") {
    const one = emitter.emit("Unsqueeze", [emitter.scalar(1, "float32"), emitter.int64s([0, 1])]);
    const column = emitMatMulBnb4(emitter, [one, codes!, absmax!], { N: size, K: 1, blockSize });
    emitter.emit("Reshape", [column, emitter.int64s(shape)], { outputs });
    return;
  }
  const blocks = Math.ceil(size / blockSize);
  const slice = (x: string, end: number): string => emitter.emit("Slice", [x, emitter.int64s([0]), emitter.int64s([end])]);
  const bytes = emitter.emit("Cast", [codes!], { attributes: { to: onnxDataType.int32 } });
  const numbers = emitter.emit("Gather", [emitter.floats(pairTable, [256, 2]), bytes], { attributes: { axis: 0 } });
  const byBlock = emitter.emit("Reshape", [numbers, emitter.int64s([blocks, blockSize])]);
  const scales = emitter.emit("Reshape", [slice(absmax!, blocks), emitter.int64s([blocks, 1])]);
  const flat = emitter.emit("Reshape", [emitter.emit("Mul", [byBlock, scales]), emitter.int64s([-1])]);
  emitter.emit("Reshape", [size === blocks * blockSize ? flat : slice(flat, size), emitter.int64s(shape)], { outputs });
};

/** Both numbers of a byte, the one in its high bits first. */
const pairTable = Float32Array.from({ length: 512 }, (_, i) => nf4Table[i % 2 === 0 ? i >> 5 : (i >> 1) & 15]!);

interface MatMulBnb4Options {
  readonly N: number;
  readonly K: number;
  readonly blockSize: number;
  readonly outputs?: readonly string[];
}

function emitMatMulBnb4(emitter: Emitter, operands: readonly string[], { N, K, blockSize, outputs }: MatMulBnb4Options): string {
  const nf4 = 1;
  return emitter.emit("MatMulBnb4", operands, {
    domain: "com.microsoft",
    attributes: { K, N, block_size: blockSize, quant_type: nf4 },
    ...(outputs && { outputs }),
  });
}

/**
 * The CPU rounds rows to codes with QuantizeLinear (unsigned, zero at 128: those are the codes that its fast kernels multiply with
 * signed ones) and scales columns while it multiplies. Other devices multiply the rounded numbers in float32.
 */
export const matmulInt8: Lowering = ({ node, emitter, device, inputs: [x, codes, scales], outputs }) => {
  const given = node.inputs[0]!.shape;
  const { shape } = node.outputs[0]!;
  const rows = sizeOf(given.slice(0, -1));
  const [flat, result]: [Shape, Shape] = [
    [rows, given.at(-1)!],
    [rows, shape.at(-1)!],
  ];
  const table = emitter.reshape(x!, { from: given, to: flat });
  const largest = (op: "ReduceMax" | "ReduceMin"): string =>
    emitter.emit(op, [table, emitter.int64s([1])], { attributes: { keepdims: 0 } });
  const magnitude = emitter.emit("Max", [largest("ReduceMax"), emitter.emit("Neg", [largest("ReduceMin")])]);
  const steps = emitter.emit("Mul", [magnitude, emitter.scalar(1 / largestInt8, "float32")]);
  const column = emitter.reshape(steps, { from: [rows], to: [rows, 1] });
  const right = node.attributes.transposeB ? emitter.emit("Transpose", [codes!], { attributes: { perm: [1, 0] } }) : codes!;
  const one = emitter.scalar(1, "float32");
  const product = device === "cpu" ? integers() : floats();
  const scaled = emitter.emit("Mul", [product, column]);
  emitter.reshape(scaled, { from: result, to: shape, outputs });

  function integers(): string {
    const zero = emitter.scalar(128, "uint8");
    const zeros = emitter.emit("Expand", [zero, emitter.shape([rows])]);
    const left = emitter.emit("QuantizeLinear", [table, steps, zeros], { attributes: { axis: 0 } });
    return emitter.emit("MatMulIntegerToFloat", [left, right, one, scales ?? one, zero], { domain: "com.microsoft" });
  }
  function floats(): string {
    const divisor = emitter.emit("Where", [emitter.emit("Equal", [column, emitter.scalar(0, "float32")]), one, column]);
    const left = emitter.emit("Round", [emitter.emit("Div", [table, divisor])]);
    const sums = emitter.emit("MatMul", [left, emitter.emit("Cast", [right], { attributes: { to: onnxDataType.float32 } })]);
    return scales ? emitter.emit("Mul", [sums, scales]) : sums;
  }
};
