/** How every operation becomes ONNX nodes. Domain "" is the standard, com.microsoft holds ONNX Runtime's fused kernels. */
import type { DType } from "../../tensor/dtype.ts";
import type { Node, Value } from "../../tensor/graph.ts";
import { mixSteps } from "../../tensor/ops/random-uniform.ts";
import { type Dim, type Shape, sizeOf } from "../../tensor/shape.ts";
import type { Emitter } from "./emitter.ts";
import { onnxDataType } from "./onnx-schema.ts";

export interface LoweringContext {
  readonly node: Node;
  readonly emitter: Emitter;
  /** Names of the operands. */
  readonly inputs: readonly string[];
  /** Names that the results must have. */
  readonly outputs: readonly string[];
  /** True if nothing reads this result. */
  unused(output: number): boolean;
}
export type Lowering = (context: LoweringContext) => void;

const direct =
  (opType: string, attributes: Record<string, number | string> = {}): Lowering =>
  ({ emitter, inputs, outputs }) => {
    emitter.emit(opType, inputs, { outputs, attributes });
  };

const reduction =
  (opType: string): Lowering =>
  ({ node, emitter, inputs: [x], outputs }) => {
    const { axes, keepDims } = node.attributes as { axes: number[]; keepDims: boolean };
    emitter.emit(opType, [x!, emitter.int64s(axes)], { outputs, attributes: { keepdims: Number(keepDims) } });
  };

const named = (context: LoweringContext): string[] => context.outputs.map((output, i) => (i > 0 && context.unused(i) ? "" : output));
const shapeOf = (value: Value): Shape => value.shape;

export const lowerings: Readonly<Record<string, Lowering>> = {
  add: direct("Add"),
  sub: direct("Sub"),
  mul: direct("Mul"),
  div: direct("Div"),
  maximum: direct("Max"),
  neg: direct("Neg"),
  exp: direct("Exp"),
  log: direct("Log"),
  sqrt: direct("Sqrt"),
  reciprocal: direct("Reciprocal"),
  tanh: direct("Tanh"),
  sigmoid: direct("Sigmoid"),
  erf: direct("Erf"),
  relu: direct("Relu"),
  gelu: direct("Gelu", { approximate: "none" }),
  geluTanh: direct("Gelu", { approximate: "tanh" }),
  stopGradient: direct("Identity"),
  equal: direct("Equal"),
  greaterOrEqual: direct("GreaterOrEqual"),
  less: direct("Less"),
  logicalAnd: direct("And"),
  logicalOr: direct("Or"),
  where: direct("Where"),
  softmax: direct("Softmax", { axis: -1 }),
  reduceSum: reduction("ReduceSum"),
  reduceMean: reduction("ReduceMean"),
  reduceMax: reduction("ReduceMax"),

  silu({ emitter, inputs, outputs }) {
    emitter.emit("QuickGelu", inputs, { outputs, domain: "com.microsoft", attributes: { alpha: { float: 1 } } });
  },

  logSumExp({ emitter, inputs: [x], outputs }) {
    // max(x) - log(max(softmax(x))): the largest probability is at least 1 / width, so the logarithm is safe, the gradient
    // shares the softmax, and ReduceLogSumExp takes four times as long at vocabulary width.
    const last = emitter.int64s([-1]);
    const largest = (of: string): string => emitter.emit("ReduceMax", [of, last], { attributes: { keepdims: 0 } });
    const probability = largest(emitter.emit("Softmax", [x!], { attributes: { axis: -1 } }));
    emitter.emit("Sub", [largest(x!), emitter.emit("Log", [probability])], { outputs });
  },

  constant({ node, emitter, outputs }) {
    const { value, dtype } = node.attributes as { value: number; dtype: "float32" | "int64" };
    emitter.emit("Identity", [emitter.scalar(value, dtype)], { outputs });
  },

  zeros({ node, emitter, outputs }) {
    const { shape, dtype } = node.attributes as { shape: Shape; dtype: "float32" };
    emitter.emit("Expand", [emitter.scalar(0, dtype), emitter.shape(shape)], { outputs });
  },

  cast({ node, emitter, inputs, outputs }) {
    emitter.emit("Cast", inputs, { outputs, attributes: { to: onnxDataType[node.attributes.dtype as DType] } });
  },

  matmul({ node, emitter, inputs, outputs }) {
    const { transposeA, transposeB, alpha } = node.attributes as { transposeA: boolean; transposeB: boolean; alpha: number };
    if (!transposeA && !transposeB && alpha === 1) emitter.emit("MatMul", inputs, { outputs });
    else emitter.emit("FusedMatMul", inputs, { outputs, domain: "com.microsoft", attributes: { transA: Number(transposeA), transB: Number(transposeB), alpha: { float: alpha } } });
  },

  rmsNorm(context) {
    const epsilon = { float: context.node.attributes.epsilon as number };
    context.emitter.emit("SimplifiedLayerNormalization", context.inputs, { outputs: named(context), attributes: { axis: -1, epsilon, stash_type: 1 } });
  },

  layerNorm(context) {
    const epsilon = { float: context.node.attributes.epsilon as number };
    context.emitter.emit("LayerNormalization", context.inputs, { outputs: named(context), attributes: { axis: -1, epsilon, stash_type: 1 } });
  },

  rotaryEmbedding({ node, emitter, inputs: [x, positions, cos, sin], outputs }) {
    // num_heads with rotary_embedding_dim 0 means: x is [B, T, heads * D] and all channels turn.
    emitter.emit("RotaryEmbedding", [x!, positions!, cos!, sin!], { outputs, domain: "com.microsoft", attributes: { num_heads: node.attributes.numHeads as number } });
  },

  reshape({ node, emitter, inputs: [x], outputs }) {
    const target = emitter.reshapeTarget(shapeOf(node.inputs[0]!), node.attributes.shape as Shape);
    emitter.emit("Reshape", [x!, target], { outputs });
  },

  transpose({ node, emitter, inputs, outputs }) {
    emitter.emit("Transpose", inputs, { outputs, attributes: { perm: node.attributes.permutation as number[] } });
  },

  concat({ node, emitter, inputs, outputs }) {
    emitter.emit("Concat", inputs, { outputs, attributes: { axis: node.attributes.axis as number } });
  },

  split({ node, emitter, inputs: [x], outputs }) {
    const { axis, sizes } = node.attributes as { axis: number; sizes: Dim[] };
    emitter.emit("Split", [x!, emitter.shape(sizes)], { outputs, attributes: { axis } });
  },

  broadcastTo({ node, emitter, inputs: [x], outputs }) {
    emitter.emit("Expand", [x!, emitter.shape(node.attributes.shape as Shape)], { outputs });
  },

  gather({ emitter, inputs, outputs }) {
    emitter.emit("Gather", inputs, { outputs, attributes: { axis: 0 } });
  },

  scatterAddRows({ node, emitter, inputs: [indices, updates], outputs }) {
    const { shape } = node.outputs[0]!;
    const zeros = emitter.emit("Expand", [emitter.scalar(0, "float32"), emitter.shape(shape)]);
    const rows = emitter.emit("Unsqueeze", [indices!, emitter.int64s([-1])]);
    emitter.emit("ScatterND", [zeros, rows, updates!], { outputs, attributes: { reduction: "add" } });
  },

  randomUniform({ node, emitter, inputs: [seed], outputs }) {
    const shape = node.attributes.shape as Shape;
    const uint32 = { to: onnxDataType.uint32 };
    const key = emitMix(emitter, emitter.emit("Cast", [seed!], { attributes: uint32 }));
    const one = emitter.scalar(1, "int64");
    const total = emitter.emit("Squeeze", [emitter.size(sizeOf(shape))]);
    const counter = emitter.emit("Cast", [emitter.emit("Range", [emitter.scalar(0, "int64"), total, one])], { attributes: uint32 });
    const hash = emitMix(emitter, emitter.emit("BitwiseXor", [counter, key]));
    const top = emitter.emit("BitShift", [hash, emitter.scalar(8, "uint32")], { attributes: { direction: "RIGHT" } });
    const unit = emitter.emit("Mul", [emitter.emit("Cast", [top], { attributes: { to: onnxDataType.float32 } }), emitter.scalar(2 ** -24, "float32")]);
    emitter.emit("Reshape", [unit, emitter.shape(shape)], { outputs });
  },
};

/** mix(h) of random-uniform.ts on uint32 tensors. */
function emitMix(emitter: Emitter, value: string): string {
  let h = value;
  for (const { shift, factor } of mixSteps) {
    const shifted = emitter.emit("BitShift", [h, emitter.scalar(shift, "uint32")], { attributes: { direction: "RIGHT" } });
    h = emitter.emit("BitwiseXor", [h, shifted]);
    if (factor !== undefined) h = emitter.emit("Mul", [h, emitter.scalar(factor, "uint32")]);
  }
  return h;
}
