/**
 * The order in which a depth-first runtime runs a graph: result by result, and for each what it needs and nothing else, the operands that
 * were made last first. ONNX Runtime orders a model so; `backends/onnx/lower.ts` writes the results in the order that is meant here.
 */
import type { Graph, Node } from "./graph.ts";

export function runOrder({ nodes }: Pick<Graph, "nodes">): readonly Node[] {
  const place = new Map(nodes.map((node, i) => [node, i]));
  const read = new Set(nodes.flatMap(({ inputs }) => inputs.map(({ producer }) => producer)));
  const order = new Set<Node>();
  const entered = new Set<Node>();
  const visit = (node: Node): void => {
    if (entered.has(node)) return;
    entered.add(node);
    const makers = node.inputs.flatMap(({ producer }) => producer ?? []);
    for (const maker of makers.sort((a, b) => place.get(b)! - place.get(a)!)) visit(maker);
    order.add(node);
  };
  for (const node of nodes) if (!read.has(node)) visit(node);
  return [...order];
}
