/** Checks what every graph must satisfy, so that a faulty pass is found at the pass and not in a kernel. */
import { ShapeError } from "../../base/errors.ts";
import type { Graph, Value } from "../graph.ts";
import { shapesEqual, showShape } from "../shape.ts";

/** @throws ShapeError naming the node, if a value is used before it is made, belongs elsewhere, or has a type its operation does not give */
export function verifyGraph(graph: Graph): Graph {
  const defined = new Set<Value>(graph.inputs.values());
  graph.nodes.forEach((node, at) => {
    const where = `node ${at} (${node.op.name})`;
    for (const input of node.inputs) if (!defined.has(input)) throw new ShapeError(`${where} reads a value that is not made before it.`);
    const types = node.op.infer(node.inputs, node.attributes);
    if (types.length !== node.outputs.length)
      throw new ShapeError(`${where} has ${node.outputs.length} outputs; its operation gives ${types.length}.`);
    node.outputs.forEach((output, i) => {
      const type = types[i]!;
      if (output.dtype !== type.dtype || !shapesEqual(output.shape, type.shape)) {
        throw new ShapeError(
          `${where}: output ${i} is ${output.dtype}${showShape(output.shape)}; its operation gives ${type.dtype}${showShape(type.shape)}.`,
        );
      }
      defined.add(output);
    });
  });
  for (const [name, value] of graph.outputs) if (!defined.has(value)) throw new ShapeError(`output "${name}" is not made by this graph.`);
  for (const value of graph.kept) if (!defined.has(value)) throw new ShapeError("a kept value is not made by this graph.");
  return graph;
}
