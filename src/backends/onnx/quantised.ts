/**
 * 4-bit weights on ONNX Runtime. Its CPU has one kernel that reads them, MatMulBnb4: x W^T with W decoded in passing, which
 * costs 0.4 ns a weight. It has none that only decodes, so there the same kernel multiplies the codes, laid out as one column,
 * by a one (1.2 ns a weight; a table look-up by Gather takes 3). Its `transB: 0` gives wrong numbers on the CPU (onnxruntime
 * 1.30), so the backward pass, dY W, decodes first. Other devices look up.
 */
import type { Node, Value } from "../../tensor/graph.ts";
import { type Nf4Options, nf4Table } from "../../tensor/ops/dequantize-nf4.ts";
import type { MatmulOptions } from "../../tensor/ops/matmul.ts";
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
