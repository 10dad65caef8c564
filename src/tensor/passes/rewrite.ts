/** The frame of passes that put other operations in the place of some. */
import { Graph, type Node, type Value } from "../graph.ts";
import { nodeKey } from "./extract.ts";

/**
 * A copy of the graph with the same inputs, outputs and kept values, in which equal nodes have become one. Before differentiation
 * that shapes the backward graph, too: VeRA projects the input of query, key and value by one matrix, and the sum of the three
 * gradients goes back through it once.
 * @param replace gives new results for a node, or undefined to leave it; its second argument is the copy of a value made so far
 */
export function rewrite(graph: Graph, replace: (node: Node, made: (value: Value) => Value) => readonly Value[] | undefined): Graph {
  const copy = new Graph();
  const copies = new Map<Value, Value>();
  const made = (value: Value): Value => copies.get(value)!;
  const copied = new Map<string, readonly Value[]>();
  const once = (node: Node): readonly Value[] => {
    const operands = node.inputs.map(made);
    const key = nodeKey(node, operands);
    const results = copied.get(key) ?? copy.add(node.op, operands, node.attributes);
    copied.set(key, results);
    return results;
  };
  for (const [name, value] of graph.inputs) copies.set(value, copy.input(name, value));
  for (const node of graph.nodes) {
    const results = replace(node, made) ?? once(node);
    for (const [i, output] of node.outputs.entries()) copies.set(output, results[i]!);
  }
  for (const [name, value] of graph.outputs) copy.output(name, made(value));
  for (const value of graph.kept) copy.keep(made(value));
  return copy;
}
