/** How every operation becomes ONNX nodes. Domain "" is the standard, com.microsoft holds ONNX Runtime's fused kernels. */
import type { DType } from "../../tensor/dtype.ts";
import type { Node } from "../../tensor/graph.ts";
import type { MatmulOptions } from "../../tensor/ops/matmul.ts";
import { mixSteps } from "../../tensor/ops/random-uniform.ts";
import { addDims, type Dim, type Shape, sizeOf } from "../../tensor/shape.ts";
import type { DeviceName } from "../registry.ts";
import type { Emitter } from "./emitter.ts";
import { emitInt8Product, matmulInt8, roundRows } from "./integer-products.ts";
import { onnxDataType } from "./onnx-schema.ts";
import { emitProduct, type Operand } from "./products.ts";
import { dequantizeNf4, emitQuantisedProduct } from "./quantised.ts";

export interface LoweringContext {
  readonly node: Node;
  readonly emitter: Emitter;
  readonly device: DeviceName;
  /** Names of the operands; of a product with a quantised weight, those of x and of the weight's codes and scales. */
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

/** Operations that only move elements and so take bfloat16 as its bits. */
export const movesBits: ReadonlySet<string> = new Set([
  "cast",
  "constant",
  "zeros",
  "reshape",
  "transpose",
  "concat",
  "split",
  "broadcastTo",
  "gather",
  "stopGradient",
]);

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
  reduceSum(context) {
    const { node, emitter, device, inputs, outputs } = context;
    const { axes } = node.attributes as { axes: readonly number[] };
    const [x] = node.inputs;
    const width = sizeOf(x!.shape.slice(axes.length));
    const sumsRows = axes.every((axis, i) => axis === i) && axes.length < x!.shape.length && typeof width === "number";
    if (device !== "cpu" || x!.dtype !== "float32" || !sumsRows) return reduction("ReduceSum")(context);
    // The CPU's kernel takes several times as long for a few hundred rows as the product with a row of ones: docs/log.md.
    const rows = sizeOf(x!.shape.slice(0, axes.length));
    const ones = emitter.emit("Expand", [emitter.scalar(1, "float32"), emitter.shape([1, rows])]);
    const table = emitter.reshape(inputs[0]!, { from: x!.shape, to: [rows, width] });
    const sum = emitter.emit("MatMul", [ones, table]);
    emitter.reshape(sum, { from: [1, width], to: node.outputs[0]!.shape, outputs });
  },
  reduceMean: reduction("ReduceMean"),

  silu({ emitter, inputs, outputs }) {
    emitter.emit("QuickGelu", inputs, { outputs, domain: "com.microsoft", attributes: { alpha: { float: 1 } } });
  },

  reduceMax({ node, emitter, inputs: [x], outputs }) {
    const { axes, keepDims } = node.attributes as { axes: number[]; keepDims: boolean };
    emitMax(emitter, x!, { axes, keepDims, shape: node.outputs[0]!.shape, outputs });
  },

  logSumExp({ node, emitter, inputs: [x], outputs }) {
    // max(x) - log(max(softmax(x))): the largest probability is at least 1 / width, so the logarithm is safe, the gradient
    // shares the softmax, and ReduceLogSumExp takes four times as long at vocabulary width.
    const { shape } = node.outputs[0]!;
    const largest = (of: string): string => emitMax(emitter, of, { axes: [-1], keepDims: false, shape });
    const probability = largest(emitter.emit("Softmax", [x!], { attributes: { axis: -1 } }));
    emitter.emit("Sub", [largest(x!), emitter.emit("Log", [probability])], { outputs });
  },

  projectedLogSumExp({ node, emitter, device, inputs: [x, table, scales], outputs, unused }) {
    const [N, C] = node.inputs[0]!.shape as [Dim, number];
    const softCap = node.attributes.softCap as number | undefined;
    const column: Shape = [N, 1];
    const largest = (of: string): string => emitMax(emitter, of, { axes: [-1], keepDims: true, shape: column });
    const [rows, words] = [
      { name: x!, shape: node.inputs[0]!.shape },
      { name: table!, shape: node.inputs[1]!.shape },
    ];
    const product = scales
      ? emitInt8Product(emitter, { ...{ device, rows: N, x: x!, scales }, codes: table!, transposeB: true })
      : emitProduct(emitter, [rows, words], { device, dtype: "float32", shape: [N, words.shape[0]!], transposeB: true });
    const float = (value: number): string => emitter.scalar(value, "float32");
    const bent = softCap === undefined ? undefined : emitter.emit("Tanh", [emitter.emit("Mul", [product, float(1 / softCap)])]);
    const scores = bent === undefined ? product : emitter.emit("Mul", [bent, float(softCap!)]);
    const softmax = emitter.emit("Softmax", [scores], { attributes: { axis: -1 } });
    const slope = (of: string): string => emitter.emit("Sub", [float(1), emitter.emit("Mul", [of, of])]);
    const top = largest(scores);
    const sum = emitter.emit("Sub", [top, emitter.emit("Log", [largest(softmax)])]); // as logSumExp
    const pull = bent === undefined || unused(2) ? softmax : emitter.emit("Mul", [softmax, slope(bent)]);
    const parts = [
      { name: sum, size: 1, output: 0 },
      { name: top, size: 1, output: 1 },
      ...(unused(2) ? [] : [{ name: meanRow(pull), size: C, output: 2 }]),
    ];
    // Joined and cut again: what reads one result then waits for all, and the runtime cannot put off a part of one piece of a
    // table, holding its scores, while it goes on to the next.
    const joined = emitter.emit(
      "Concat",
      parts.map(({ name }) => name),
      { attributes: { axis: 1 } },
    );
    const cut = parts.map(({ output }) => (output === 2 ? outputs[2]! : emitter.fresh()));
    emitter.emit("Split", [joined, emitter.int64s(parts.map(({ size }) => size))], { outputs: cut, attributes: { axis: 1 } });
    for (const output of [0, 1]) emitter.reshape(cut[output]!, { from: column, to: [N], outputs: [outputs[output]!] });

    function meanRow(of: string): string {
      if (!scales) return emitter.emit("MatMul", [of, table!]);
      return emitInt8Product(emitter, { device, rows: N, x: emitter.emit("Mul", [of, scales]), codes: table!, isPositive: true });
    }
  },

  constant({ node, emitter, outputs }) {
    const { value, dtype } = node.attributes as { value: number; dtype: DType };
    emitter.emit("Identity", [emitConstant(emitter, value, dtype)], { outputs });
  },

  zeros({ node, emitter, outputs }) {
    const { shape, dtype } = node.attributes as { shape: Shape; dtype: DType };
    emitter.emit("Expand", [emitConstant(emitter, 0, dtype), emitter.shape(shape)], { outputs });
  },

  range({ node, emitter, outputs }) {
    emitRange(emitter, node.attributes.size as Dim, outputs);
  },

  cast({ node, emitter, inputs: [x], outputs }) {
    emitCast(emitter, x!, { from: node.inputs[0]!.dtype, to: node.attributes.dtype as DType, outputs });
  },

  matmul(context) {
    const { node, emitter, inputs, outputs } = context;
    if (inputs.length === 3) return emitQuantisedProduct(context);
    const [a, b] = node.inputs.map(({ shape }, i) => ({ name: inputs[i]!, shape })) as [Operand, Operand];
    const { dtype, shape } = node.outputs[0]!;
    emitProduct(emitter, [a, b], { ...(node.attributes as MatmulOptions), device: context.device, dtype, shape, outputs });
  },

  rmsNorm(context) {
    const { emitter, device, inputs, outputs } = context;
    const epsilon = { float: context.node.attributes.epsilon as number };
    // The second result of WebGPU's kernel is wrong (onnxruntime 1.30), so there the inverse is computed by itself.
    const isByItself = device === "webgpu" && !context.unused(1);
    emitter.emit("SimplifiedLayerNormalization", inputs, {
      outputs: isByItself ? [outputs[0]!] : named(context),
      attributes: { axis: -1, epsilon, stash_type: 1 },
    });
    if (!isByItself) return;
    const square = emitter.emit("Mul", [inputs[0]!, inputs[0]!]);
    const mean = emitter.emit("ReduceMean", [square, emitter.int64s([-1])], { attributes: { keepdims: 1 } });
    emitter.emit("Reciprocal", [emitter.emit("Sqrt", [emitter.emit("Add", [mean, emitter.scalar(epsilon.float, "float32")])])], {
      outputs: [outputs[1]!],
    });
  },

  layerNorm(context) {
    const epsilon = { float: context.node.attributes.epsilon as number };
    context.emitter.emit("LayerNormalization", context.inputs, {
      outputs: named(context),
      attributes: { axis: -1, epsilon, stash_type: 1 },
    });
  },

  rotaryEmbedding({ node, emitter, inputs: [x, positions, cos, sin], outputs }) {
    // num_heads with rotary_embedding_dim 0 means: x is [B, T, heads * D] and all channels turn.
    const numHeads = node.attributes.numHeads as number;
    const turning = 2 * Number(node.inputs[2]!.shape[1]);
    emitter.emit("RotaryEmbedding", [x!, positions!, cos!, sin!], {
      outputs,
      domain: "com.microsoft",
      attributes: { num_heads: numHeads, rotary_embedding_dim: numHeads * turning === node.inputs[0]!.shape[2] ? 0 : turning },
    });
  },

  reshape({ node, emitter, inputs: [x], outputs }) {
    emitter.reshape(x!, { from: node.inputs[0]!.shape, to: node.attributes.shape as Shape, outputs });
  },

  transpose({ node, emitter, inputs, outputs }) {
    emitter.emit("Transpose", inputs, { outputs, attributes: { perm: node.attributes.permutation as number[] } });
  },

  concat({ node, emitter, inputs, outputs }) {
    emitter.emit("Concat", inputs, { outputs, attributes: { axis: node.attributes.axis as number } });
  },

  split({ node, emitter, inputs: [x], outputs, unused }) {
    const { axis, sizes } = node.attributes as { axis: number; sizes: Dim[] };
    if (!sizes.some((_, i) => unused(i))) {
      emitter.emit("Split", [x!, emitter.shape(sizes)], { outputs, attributes: { axis } });
      return;
    }
    // Parts that nobody reads are not copied.
    let start: Dim = 0;
    for (const [i, size] of sizes.entries()) {
      const end: Dim = addDims(start, size);
      if (!unused(i))
        emitter.emit("Slice", [x!, emitter.size(start), emitter.size(end), emitter.int64s([axis])], { outputs: [outputs[i]!] });
      start = end;
    }
  },

  broadcastTo({ node, emitter, inputs: [x], outputs }) {
    emitter.emit("Expand", [x!, emitter.shape(node.attributes.shape as Shape)], { outputs });
  },

  dequantizeNf4,
  matmulInt8,
  roundRows,

  gather({ emitter, inputs, outputs }) {
    emitter.emit("Gather", inputs, { outputs, attributes: { axis: 0 } });
  },

  topK({ node, emitter, inputs: [x], outputs }) {
    const k = emitter.int64s([node.attributes.k as number]);
    emitter.emit("TopK", [x!, k], { outputs: [emitter.fresh(), outputs[0]!], attributes: { axis: -1 } });
  },

  groupRows({ node, emitter, inputs: [groupOf], outputs: [order, sizes, places] }) {
    // Numbers that sort by group first and by row second, so that all differ.
    const [size] = node.inputs[0]!.shape as [Dim];
    const rows = emitter.size(size);
    const keys = emitter.emit("Add", [emitter.emit("Mul", [groupOf!, rows]), emitRange(emitter, size)]);
    emitter.emit("TopK", [keys, rows], { outputs: [emitter.fresh(), order!], attributes: { axis: 0, largest: 0 } });
    emitter.emit("TopK", [order!, rows], { outputs: [emitter.fresh(), places!], attributes: { axis: 0, largest: 0 } });
    const groups = emitter.int64s([...Array(node.attributes.groups as number).keys()]);
    const isOf = emitter.emit("Equal", [emitter.emit("Unsqueeze", [groupOf!, emitter.int64s([1])]), groups]);
    const counted = emitter.emit("Cast", [isOf], { attributes: { to: onnxDataType.int64 } });
    emitter.emit("ReduceSum", [counted, emitter.int64s([0])], { outputs: [sizes!], attributes: { keepdims: 0 } });
  },

  dealRows({ node, emitter, inputs: [x, order], outputs }) {
    const copies = node.attributes.copies as number;
    const rows = copies === 1 ? order! : emitter.emit("Div", [order!, emitConstant(emitter, copies, "int64")]);
    emitter.emit("Gather", [x!, rows], { outputs, attributes: { axis: 0 } });
  },

  collectRows({ node, emitter, inputs: [x, , places], outputs }) {
    const { copies, rows } = node.attributes as { copies: number; rows: Dim };
    if (copies === 1) {
      emitter.emit("Gather", [x!, places!], { outputs, attributes: { axis: 0 } });
      return;
    }
    const { shape } = node.inputs[0]!;
    const inOrder = emitter.emit("Gather", [x!, places!], { attributes: { axis: 0 } });
    const copiesOf = emitter.reshape(inOrder, { from: shape, to: [rows, copies, ...shape.slice(1)] });
    emitter.emit("ReduceSum", [copiesOf, emitter.int64s([1])], { outputs, attributes: { keepdims: 0 } });
  },

  splitGroups({ node, emitter, inputs: [x, sizes], outputs }) {
    node.op.decides!.names(node.attributes).forEach((name, i) => {
      emitter.decide(name, () => emitter.emit("Gather", [sizes!, emitter.int64s([i])]));
    });
    emitter.emit("Split", [x!, sizes!], { outputs, attributes: { axis: 0 } });
  },

  joinGroups({ emitter, inputs: [, ...pieces], outputs }) {
    emitter.emit("Concat", pieces, { outputs, attributes: { axis: 0 } });
  },

  scatterAddRows({ node, emitter, device, inputs: [indices, updates], outputs }) {
    const { shape, dtype } = node.outputs[0]!;
    const zeros = emitter.emit("Expand", [emitConstant(emitter, 0, dtype), emitter.shape(shape)]);
    if (device !== "cpu") {
      const rows = emitter.emit("Unsqueeze", [indices!, emitter.int64s([-1])]);
      emitter.emit("ScatterND", [zeros, rows, updates!], { outputs, attributes: { reduction: "add" } });
      return;
    }
    // On the CPU ScatterND loses updates where threads add to one row at once; ScatterElements works in order.
    const rest = shape.slice(1);
    const flat = emitter.reshape(updates!, { from: node.inputs[1]!.shape, to: [sizeOf(node.inputs[0]!.shape), ...rest] });
    const column = emitter.emit("Reshape", [indices!, emitter.int64s([-1, ...rest.map(() => 1)])]);
    const rows = emitter.emit("Expand", [column, emitter.emit("Shape", [flat])]);
    emitter.emit("ScatterElements", [zeros, rows, flat], { outputs, attributes: { axis: 0, reduction: "add" } });
  },

  randomUniform({ node, emitter, inputs: [seed], outputs }) {
    const shape = node.attributes.shape as Shape;
    const uint32 = { to: onnxDataType.uint32 };
    const key = emitMix(emitter, emitter.emit("Cast", [seed!], { attributes: uint32 }));
    const counter = emitter.emit("Cast", [emitRange(emitter, sizeOf(shape))], { attributes: uint32 });
    const hash = emitMix(emitter, emitter.emit("BitwiseXor", [counter, key]));
    const top = emitter.emit("BitShift", [hash, emitter.scalar(8, "uint32")], { attributes: { direction: "RIGHT" } });
    const unit = emitter.emit("Mul", [
      emitter.emit("Cast", [top], { attributes: { to: onnxDataType.float32 } }),
      emitter.scalar(2 ** -24, "float32"),
    ]);
    emitter.reshape(unit, { from: [sizeOf(shape)], to: shape, outputs });
  },
};

/** int64 [size]: 0, 1, ... size - 1. */
function emitRange(emitter: Emitter, size: Dim, outputs?: readonly string[]): string {
  const end = emitter.emit("Squeeze", [emitter.size(size)]);
  return emitter.emit("Range", [emitter.scalar(0, "int64"), end, emitter.scalar(1, "int64")], { ...(outputs && { outputs }) });
}

interface MaxOptions {
  readonly axes: readonly number[];
  readonly keepDims: boolean;
  /** Of the result. */
  readonly shape: Shape;
  readonly outputs?: readonly string[];
}

/** The runtime gives the maximum of no rows the operand's shape, so a result with a named size is told its own (no copy is made). */
function emitMax(emitter: Emitter, x: string, { axes, keepDims, shape, outputs }: MaxOptions): string {
  const options = { attributes: { keepdims: Number(keepDims) } };
  const operands = [x, emitter.int64s(axes)];
  if (shape.every((d) => typeof d === "number")) return emitter.emit("ReduceMax", operands, { ...options, ...(outputs && { outputs }) });
  return emitter.emit("Reshape", [emitter.emit("ReduceMax", operands, options), emitter.shape(shape)], {
    attributes: { allowzero: 1 },
    ...(outputs && { outputs }),
  });
}

interface CastOptions {
  readonly from: DType;
  readonly to: DType;
  readonly outputs?: readonly string[];
}

/** bfloat16 is held as uint16, so it is reinterpreted on its way to and from numbers. */
function emitCast(emitter: Emitter, x: string, { from, to, outputs }: CastOptions): string {
  const options = (type: number) => ({ attributes: { to: type } });
  const given = outputs && { outputs };
  if (from === "bfloat16")
    return emitter.emit("Cast", [emitter.emit("BitCast", [x], options(onnxDataType.bfloat16))], { ...options(onnxDataType[to]), ...given });
  if (to === "bfloat16")
    return emitter.emit("BitCast", [emitter.emit("Cast", [x], options(onnxDataType.bfloat16))], {
      ...options(onnxDataType.uint16),
      ...given,
    });
  return emitter.emit("Cast", [x], { ...options(onnxDataType[to]), ...given });
}

function emitConstant(emitter: Emitter, value: number, dtype: DType): string {
  return dtype === "float16" || dtype === "bfloat16"
    ? emitCast(emitter, emitter.scalar(value, "float32"), { from: "float32", to: dtype })
    : emitter.scalar(value, dtype);
}

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
