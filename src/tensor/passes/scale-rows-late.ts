/**
 * Rows that are scaled before a product are scaled behind it, or in the other operand, where rows are shorter:
 * (s P) W = s (P W), and (s P)^T H = P^T (s H). The gradient of a log-sum-exp is such a P, as wide as the vocabulary.
 */
import type { Graph, Node, Value } from "../graph.ts";
import { matmul, mul } from "../ops/index.ts";
import type { MatmulOptions } from "../ops/matmul.ts";
import { rewrite } from "./rewrite.ts";

interface ScaledRows {
  /** [R, V]. */
  readonly rows: Value;
  /** [R, 1]. */
  readonly scale: Value;
}

/** A copy of the graph with the same inputs, outputs and kept values. Products left without readers stay, for `extract` to drop. */
export function scaleRowsLate(graph: Graph): Graph {
  const late = new Map<Value, ScaledRows>();
  for (const node of graph.nodes) {
    const scaled = scaledRows(node);
    if (scaled && readsOnlyInProducts(graph, node.outputs[0]!)) late.set(node.outputs[0]!, scaled);
  }
  return rewrite(graph, ({ op, inputs, attributes }, made) => {
    const scaled = op.name === "matmul" ? late.get(inputs[0]!) : undefined;
    return scaled && [product({ rows: made(scaled.rows), scale: made(scaled.scale) }, made(inputs[1]!), attributes)];
  });
}

const product = ({ rows, scale }: ScaledRows, right: Value, options: MatmulOptions): Value =>
  options.transposeA ? matmul(rows, mul(right, scale), options) : mul(matmul(rows, right, options), scale);

/** A matrix times a column: one number for each row. */
function scaledRows({ op, inputs }: Node): ScaledRows | undefined {
  if (op.name !== "mul") return undefined;
  const scale = inputs.find(({ shape }) => shape.length === 2 && shape[1] === 1);
  const rows = inputs.find((input) => input !== scale);
  return scale && rows?.shape.length === 2 ? { rows, scale } : undefined;
}

/** Anything else would need the scaled rows all the same. */
function readsOnlyInProducts(graph: Graph, value: Value): boolean {
  if ([...graph.outputs.values()].includes(value) || graph.kept.has(value)) return false;
  const width = value.shape[1]!;
  return graph.nodes.every((node) => {
    if (!node.inputs.includes(value)) return true;
    const { transposeA, transposeB } = node.attributes as MatmulOptions;
    const [left, right] = node.inputs;
    if (node.op.name !== "matmul" || left !== value || right === value || right!.shape.length !== 2 || (transposeA && transposeB))
      return false;
    const other = right!.shape[transposeB ? 0 : 1]!;
    return typeof width === "number" && typeof other === "number" && other < width;
  });
}
