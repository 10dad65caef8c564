/**
 * Puts operations into float16 where that pays and the numbers allow it, as PyTorch's autocast decides: a table says for each operation
 * in which precision it runs, and casts come between them. Inputs and outputs of the graph keep their types, so trained weights, the
 * hidden state between segments and losses are float32. Run before differentiation, the pass decides for the backward graph too, since
 * the gradient of a cast is the cast back. Micikevicius et al. 2017, https://arxiv.org/abs/1710.03740.
 */
import { largestFloat16 } from "../../base/half.ts";
import type { DType } from "../dtype.ts";
import { Graph, type Node, type Value } from "../graph.ts";
import { cast, constant } from "../ops/index.ts";
import type { ops } from "../ops/registry.ts";
import { verifyGraph } from "./verify.ts";

/**
 * half: in float16.
 * inside: reckoned in float32; float16 operands give a float16 result, as kernels do that widen what they read.
 * widest: in the widest type among its operands. One of lower rank than the result, a bias or a single number, follows the others.
 * float: in float32.
 */
export type Precision = "half" | "inside" | "widest" | "float";

export const precisionOf = {
  matmul: "half",

  ...{ tanh: "inside", sigmoid: "inside", relu: "inside", silu: "inside", gelu: "inside", geluTanh: "inside" },
  ...{ div: "inside", rotaryEmbedding: "inside" },

  ...{ add: "widest", sub: "widest", mul: "widest", neg: "widest", maximum: "widest", where: "widest", stopGradient: "widest" },
  ...{ equal: "widest", greaterOrEqual: "widest", less: "widest", logicalAnd: "widest", logicalOr: "widest" },
  ...{ reshape: "widest", transpose: "widest", concat: "widest", split: "widest", broadcastTo: "widest", gather: "widest" },
  ...{
    constant: "widest",
    zeros: "widest",
    range: "widest",
    cast: "widest",
    dealRows: "widest",
    splitGroups: "widest",
    joinGroups: "widest",
  },
  ...{ groupRows: "widest", topK: "float", collectRows: "float" },

  ...{ exp: "float", log: "float", sqrt: "float", reciprocal: "float", erf: "float", randomUniform: "float" },
  ...{ reduceSum: "float", reduceMean: "float", reduceMax: "float", softmax: "float", logSumExp: "float", projectedLogSumExp: "float" },
  ...{ rmsNorm: "float", layerNorm: "float", scatterAddRows: "float", dequantizeNf4: "float", matmulInt8: "float", roundRows: "float" },
} as const satisfies Readonly<Record<(typeof ops)[number]["name"], Precision>>;

/** A copy of the graph with the same inputs, outputs and kept values; of the last, those that are float16 now are kept so. */
export function autocast(graph: Graph): Graph {
  const copy = new Graph();
  const made = new Map<Value, Value>();
  for (const [name, value] of graph.inputs) made.set(value, copy.input(name, value));
  const casts = new Map<string, Value>();
  /** The value in a type; what was cast to it already, or from it, is not cast again. */
  const as = (value: Value, dtype: DType): Value => {
    if (value.dtype === dtype || !isCastable(value)) return value;
    const { producer } = value;
    if (producer?.op.name === "constant") return constant(copy, producer.attributes.value as number, dtype);
    if (producer?.op.name === "cast" && producer.inputs[0]!.dtype === dtype) return producer.inputs[0]!;
    const key = `${value.id} ${dtype}`;
    const known = casts.get(key) ?? cast(value, dtype);
    casts.set(key, known);
    return known;
  };
  for (const node of graph.nodes) {
    const operands = node.inputs.map((input) => made.get(input)!);
    const { operandType, resultType } = typesFor(node, operands);
    const results = copy.add(
      node.op,
      operands.map((operand) => as(operand, operandType)),
      node.attributes,
    );
    node.outputs.forEach((output, i) => {
      made.set(output, node.op.name === "cast" ? results[i]! : as(results[i]!, resultType));
    });
  }
  for (const [name, value] of graph.outputs) copy.output(name, as(made.get(value)!, value.dtype));
  for (const value of graph.kept) if (made.get(value)!.producer) copy.keep(made.get(value)!);
  return verifyGraph(copy);
}

const smallestHalf = 2 ** -14;

/** True of a number in the graph that float16 does not hold. */
function isTooWide({ producer }: Value): boolean {
  if (producer?.op.name !== "constant") return false;
  const size = Math.abs(producer.attributes.value as number);
  return size > largestFloat16 || (size !== 0 && size < smallestHalf);
}

const isCastable = ({ dtype }: Value): boolean => dtype === "float32" || dtype === "float16";

/** The types that the floating-point operands of a node are brought to, and its results. Explicit casts stand as they are. */
function typesFor(node: Node, operands: readonly Value[]): { operandType: DType; resultType: DType } {
  const precision: Precision = precisionOf[node.op.name as keyof typeof precisionOf];
  if (precision === "half") return { operandType: "float16", resultType: "float16" };
  const floats = operands.filter(isCastable);
  const rank = Math.max(0, ...floats.map(({ shape }) => shape.length));
  const deciding = floats.filter((operand) => operand.shape.length === rank && !isTooWide(operand));
  const widened = floats.some(isTooWide);
  const allHalf = !widened && deciding.length > 0 && deciding.every(({ dtype }) => dtype === "float16");
  if (precision === "inside") return { operandType: "float32", resultType: allHalf ? "float16" : "float32" };
  if (precision === "float" || !allHalf) return { operandType: "float32", resultType: "float32" };
  return { operandType: "float16", resultType: "float16" };
}
