/**
 * Copies the part of a graph that makes given outputs. Values named in `inputs` become inputs of the copy, so that what
 * made them is left behind; equal nodes become one. This is dead-code elimination, common-subexpression elimination and
 * the cut between forward and backward pass in one walk.
 */
import { Graph, type Node, printAttributes, type Value } from "../graph.ts";

export interface ExtractOptions {
  readonly graph: Graph;
  readonly inputs: ReadonlyMap<string, Value>;
  readonly outputs: ReadonlyMap<string, Value>;
}

/** Inputs that nothing needs are left out. */
export function extract({ graph, inputs, outputs }: ExtractOptions): Graph {
  const cut = new Map<Value, string>([...inputs].map(([name, value]) => [value, name]));
  const needed = new Set<Value>();
  const pending = [...outputs.values()];
  for (let value = pending.pop(); value; value = pending.pop()) {
    if (needed.has(value)) continue;
    needed.add(value);
    if (!cut.has(value) && value.producer) pending.push(...value.producer.inputs);
  }

  const copy = new Graph();
  const made = new Map<Value, Value>();
  for (const [name, value] of graph.inputs) if (needed.has(value)) made.set(value, copy.input(name, value));
  for (const [value, name] of cut) if (needed.has(value) && value.producer) made.set(value, copy.input(name, value));
  const seen = new Map<string, readonly Value[]>();
  for (const node of graph.nodes) {
    if (!node.outputs.some((output) => needed.has(output) && !cut.has(output))) continue;
    const operands = node.inputs.map((input) => made.get(input)!);
    const key = nodeKey(node, operands);
    const results = seen.get(key) ?? copy.add(node.op, operands, node.attributes);
    seen.set(key, results);
    node.outputs.forEach((output, i) => {
      if (!cut.has(output)) made.set(output, results[i]!);
    });
  }
  for (const [name, value] of outputs) copy.output(name, made.get(value)!);
  for (const value of graph.kept) if (made.has(value) && made.get(value)!.producer) copy.keep(made.get(value)!);
  return copy;
}

/** The part of a graph that makes its outputs. */
export const withoutUnread = (graph: Graph): Graph => extract({ graph, inputs: new Map(), outputs: graph.outputs });

/** Equal for nodes that give equal results. */
export const nodeKey = ({ op, attributes }: Node, operands: readonly Value[]): string =>
  `${op.name}(${operands.map(({ id }) => id).join(",")})${printAttributes(attributes)}`;
