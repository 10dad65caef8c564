/**
 * Narrow products with one left operand become one product with their right operands joined: x A^T and x B^T are the
 * columns of x [A; B]^T. The low-rank products of LoRA on query, key and value are such siblings. Run before
 * differentiation, the pass shapes the backward graph too: one product for all the gradients of A and B, one for that of x.
 */
import type { Graph, Node, Value } from "../graph.ts";
import { concat, matmul, split } from "../ops/index.ts";
import type { MatmulOptions } from "../ops/matmul.ts";
import { rewrite } from "./rewrite.ts";

/** Rows of a right operand above which a product keeps the cores busy by itself, and joining would only copy it. */
const narrow = 64;

/** A copy of the graph with the same inputs, outputs and kept values. */
export function mergeProducts(graph: Graph): Graph {
  const siblings = new Map<string, Node[]>();
  for (const node of graph.nodes) if (isNarrowProduct(node)) siblings.set(keyOf(node), [...(siblings.get(keyOf(node)) ?? []), node]);

  const merged = new Map<Node, Value>();
  return rewrite(graph, (node, made) => {
    const group = isNarrowProduct(node) ? siblings.get(keyOf(node))! : [];
    if (group.length < 2) return undefined;
    if (!merged.has(node)) for (const [i, product] of joined(group, made).entries()) merged.set(group[i]!, product);
    return [merged.get(node)!];
  });
}

function joined(group: readonly Node[], made: (value: Value) => Value): readonly Value[] {
  const rights = group.map(({ inputs }) => made(inputs[1]!));
  const product = matmul(made(group[0]!.inputs[0]!), concat(rights, 0), group[0]!.attributes);
  return split(
    product,
    product.shape.length - 1,
    rights.map(({ shape }) => shape[0]!),
  );
}

/** The right operand must be a graph input: then it exists wherever the first of its siblings stands. */
function isNarrowProduct({ op, inputs: [, right], attributes }: Node): boolean {
  if (op.name !== "matmul" || right!.producer || right!.shape.length !== 2) return false;
  const { transposeA, transposeB } = attributes as MatmulOptions;
  return !transposeA && transposeB === true && typeof right!.shape[0] === "number" && right!.shape[0] <= narrow;
}

const keyOf = ({ inputs: [left], attributes }: Node): string => `${left!.id} ${(attributes as MatmulOptions).alpha}`;
