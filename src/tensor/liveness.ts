/**
 * How much memory a graph's intermediate values need at most, when nodes run in a depth-first runtime's order and a value is freed after
 * its last use, or written over by what comes of it element by element.
 */
import { bytesPerElement } from "./dtype.ts";
import type { Graph, TensorType, Value } from "./graph.ts";
import { runOrder } from "./run-order.ts";
import { type DimBindings, evaluateShape } from "./shape.ts";

/** Operations whose result is their operand's memory under another shape. */
const aliases = new Set(["reshape", "stopGradient"]);

/** Operations that may write their result over an operand of its size which nothing reads after them. */
const mayOverwrite = new Set([
  ...["add", "sub", "mul", "div", "maximum", "neg", "exp", "log", "sqrt", "reciprocal", "tanh", "sigmoid", "erf", "relu", "silu"],
  ...["gelu", "geluTanh", "softmax"],
]);

/** A kernel decodes these codes by itself, or they are decoded right before the product: once for each that reads them, and never held between. */
const isDecodedInPassing = ({ producer }: Value): boolean => producer?.op.name === "dequantizeNf4";

/** Bytes, without the graph's inputs and the outputs named in `held`, which live elsewhere. */
export function peakIntermediateBytes({
  graph,
  bindings,
  held,
}: {
  graph: Graph;
  bindings: DimBindings;
  held: (output: string) => boolean;
}): number {
  const owner = new Map<Value, Value>();
  const ownerOf = (value: Value): Value => owner.get(value) ?? value;
  const lastUse = new Map<Value, number>();
  const elsewhere = new Set<Value>(graph.inputs.values());
  const nodes = runOrder(graph);
  for (const output of nodes.flatMap(({ outputs }) => outputs)) if (isDecodedInPassing(output)) elsewhere.add(output);
  nodes.forEach((node, at) => {
    if (aliases.has(node.op.name)) owner.set(node.outputs[0]!, ownerOf(node.inputs[0]!));
    for (const value of [...node.inputs, ...node.outputs]) lastUse.set(ownerOf(value), at);
  });
  for (const [name, value] of graph.outputs) {
    if (held(name)) elsewhere.add(ownerOf(value));
    else lastUse.set(ownerOf(value), nodes.length);
  }
  const known = withLikelySizes(graph, bindings);
  const sizeOf = ({ shape, dtype }: TensorType): number =>
    evaluateShape(shape, known).reduce((product, n) => product * n, bytesPerElement[dtype]);
  let [live, peak] = [0, 0];
  nodes.forEach((node, at) => {
    const ends = [...new Set([...node.inputs, ...node.outputs].map(ownerOf))].filter(
      (value) => lastUse.get(value) === at && !elsewhere.has(value),
    );
    const made = node.outputs.filter((output) => ownerOf(output) === output && !elsewhere.has(output));
    for (const output of made) live += sizeOf(output);
    const over =
      mayOverwrite.has(node.op.name) && made.length > 0 && ends.find((value) => value !== made[0] && sizeOf(value) === sizeOf(made[0]!));
    if (over) live -= sizeOf(over);
    const passing = [...(node.op.scratch?.(node.inputs) ?? []), ...node.inputs.filter(isDecodedInPassing)];
    const scratch = passing.reduce((sum, type) => sum + sizeOf(type), 0);
    peak = Math.max(peak, live + scratch);
    for (const value of ends) if (value !== over) live -= sizeOf(value);
  });
  return peak;
}

function withLikelySizes(graph: Graph, bindings: DimBindings): DimBindings {
  const known: Record<string, number> = { ...bindings };
  for (const { op, inputs, attributes } of graph.nodes) {
    if (!op.decides) continue;
    const shapes = inputs.map(({ shape }) => evaluateShape(shape, known));
    const sizes = op.decides.likely(shapes, attributes);
    op.decides.names(attributes).forEach((name, i) => {
      known[name] = sizes[i]!;
    });
  }
  return known;
}
