/**
 * Narrow products with one left operand become one product with their right operands joined: x A^T and x B^T are the
 * columns of x [A; B]^T. The low-rank products of LoRA on query, key and value are such siblings. Run before
 * differentiation, the pass shapes the backward graph too: one product for all the gradients of A and B, one for that of x.
 * For the same reason equal nodes become one here: VeRA projects the input of query, key and value by one matrix, and the sum of
 * the three gradients goes back through it once.
 */
import { Graph, type Node, type Value } from "../graph.ts";
import { concat, matmul, split } from "../ops/index.ts";
import type { MatmulOptions } from "../ops/matmul.ts";
import { nodeKey } from "./extract.ts";

/** Rows of a right operand above which a product keeps the cores busy by itself, and joining would only copy it. */
const narrow = 64;

/** A copy of the graph with the same inputs, outputs and kept values. */
export function mergeProducts(graph: Graph): Graph {
  const siblings = new Map<string, Node[]>();
  for (const node of graph.nodes) if (isNarrowProduct(node)) siblings.set(keyOf(node), [...(siblings.get(keyOf(node)) ?? []), node]);

  const copy = new Graph();
  const made = new Map<Value, Value>();
  const equal = new Map<string, readonly Value[]>();
  for (const [name, value] of graph.inputs) made.set(value, copy.input(name, value));
  for (const node of graph.nodes) {
    if (made.has(node.outputs[0]!)) continue;
    const group = isNarrowProduct(node) ? siblings.get(keyOf(node))! : [node];
    if (group.length > 1) joined(group).forEach((value, i) => made.set(group[i]!.outputs[0]!, value));
    else {
      const operands = node.inputs.map((input) => made.get(input)!);
      const results = equal.get(nodeKey(node, operands)) ?? copy.add(node.op, operands, node.attributes);
      equal.set(nodeKey(node, operands), results);
      results.forEach((value, i) => made.set(node.outputs[i]!, value));
    }
  }
  for (const [name, value] of graph.outputs) copy.output(name, made.get(value)!);
  for (const value of graph.kept) copy.keep(made.get(value)!);
  return copy;

  function joined(group: readonly Node[]): readonly Value[] {
    const rights = group.map(({ inputs }) => made.get(inputs[1]!)!);
    const product = matmul(made.get(group[0]!.inputs[0]!)!, concat(rights, 0), group[0]!.attributes);
    return split(
      product,
      product.shape.length - 1,
      rights.map(({ shape }) => shape[0]!),
    );
  }
}

/** The right operand must be a graph input: then it exists wherever the first of its siblings stands. */
function isNarrowProduct({ op, inputs: [, right], attributes }: Node): boolean {
  if (op.name !== "matmul" || right!.producer || right!.shape.length !== 2) return false;
  const { transposeA, transposeB } = attributes as MatmulOptions;
  return !transposeA && transposeB === true && typeof right!.shape[0] === "number" && right!.shape[0] <= narrow;
}

const keyOf = ({ inputs: [left], attributes }: Node): string => `${left!.id} ${(attributes as MatmulOptions).alpha}`;
