/** The frame of passes that put other operations in the place of some. */
import { Graph, type Node, type Value } from "../graph.ts";

/**
 * A copy of the graph with the same inputs, outputs and kept values.
 * @param replace gives new results for a node, or undefined to leave it; its second argument is the copy of a value made so far
 */
export function rewrite(graph: Graph, replace: (node: Node, made: (value: Value) => Value) => readonly Value[] | undefined): Graph {
  const copy = new Graph();
  const copies = new Map<Value, Value>();
  const made = (value: Value): Value => copies.get(value)!;
  for (const [name, value] of graph.inputs) copies.set(value, copy.input(name, value));
  for (const node of graph.nodes) {
    const results = replace(node, made) ?? copy.add(node.op, node.inputs.map(made), node.attributes);
    for (const [i, output] of node.outputs.entries()) copies.set(output, results[i]!);
  }
  for (const [name, value] of graph.outputs) copy.output(name, made(value));
  for (const value of graph.kept) copy.keep(made(value));
  return copy;
}
