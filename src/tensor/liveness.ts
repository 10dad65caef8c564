/** How much memory a graph's intermediate values need at most, when nodes run in order and a value is freed after its last use. */
import { bytesPerElement } from "./dtype.ts";
import type { Graph, TensorType, Value } from "./graph.ts";
import { type DimBindings, evaluateShape } from "./shape.ts";

/** Operations whose result is their operand's memory under another shape. */
const aliases = new Set(["reshape", "stopGradient"]);

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
  graph.nodes.forEach((node, at) => {
    if (aliases.has(node.op.name)) owner.set(node.outputs[0]!, ownerOf(node.inputs[0]!));
    for (const value of [...node.inputs, ...node.outputs]) lastUse.set(ownerOf(value), at);
  });
  for (const [name, value] of graph.outputs) {
    if (held(name)) elsewhere.add(ownerOf(value));
    else lastUse.set(ownerOf(value), graph.nodes.length);
  }
  const known = withLikelySizes(graph, bindings);
  const sizeOf = ({ shape, dtype }: TensorType): number =>
    evaluateShape(shape, known).reduce((product, n) => product * n, bytesPerElement[dtype]);
  let [live, peak] = [0, 0];
  graph.nodes.forEach((node, at) => {
    const made = node.outputs.filter((output) => ownerOf(output) === output && !elsewhere.has(output));
    for (const output of made) live += sizeOf(output);
    const scratch = (node.op.scratch?.(node.inputs) ?? []).reduce((sum, type) => sum + sizeOf(type), 0);
    peak = Math.max(peak, live + scratch);
    const touched = new Set([...node.inputs, ...node.outputs].map(ownerOf));
    for (const value of touched) if (lastUse.get(value) === at && !elsewhere.has(value)) live -= sizeOf(value);
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
