/**
 * Products with a large weight that is held in 4 bits take it some rows at a time: x W^T is the columns of x W1^T and x W2^T side by
 * side. So only those rows stand decoded at once. Run before differentiation, the pass shapes the backward graph, too: the
 * gradient of x is the sum of what the parts give, each decoded when its turn comes.
 */
import type { Graph, Node, Value } from "../graph.ts";
import type { Nf4Options } from "../ops/dequantize-nf4.ts";
import { concat, dequantizeNf4, matmul, split } from "../ops/index.ts";
import type { MatmulOptions } from "../ops/matmul.ts";
import { rewrite } from "./rewrite.ts";

/** Numbers that are decoded at once, 16 MB of them. Products of fewer columns would leave cores idle. */
const mostDecoded = 2 ** 22;

export interface CutOptions {
  /** Numbers of a weight that may be decoded at once. */
  readonly most?: number;
}

/** A copy of the graph with the same inputs, outputs and kept values. */
export function cutDecodedWeights(graph: Graph, { most = mostDecoded }: CutOptions = {}): Graph {
  const readers = new Map<Value, number>();
  for (const value of [...graph.outputs.values(), ...graph.nodes.flatMap(({ inputs }) => inputs)])
    readers.set(value, (readers.get(value) ?? 0) + 1);
  return rewrite(graph, (node, made) => {
    const weight = decodedWeight(node);
    // What something else reads has to be decoded whole.
    if (!weight || readers.get(weight.outputs[0]!)! > 1) return undefined;
    const { shape, blockSize } = weight.attributes as unknown as Nf4Options;
    const rows = rowsOfParts(shape as [number, number], { most, blockSize });
    if (rows.length === 1) return undefined;
    const [codes, absmax] = weight.inputs.map(made) as [Value, Value];
    const columns = shape[1]!;
    const blocks = rows.map((count) => (count * columns) / blockSize);
    // Scales may end in padding, and the last block in padding of its own.
    const before = (sizes: readonly number[]): number => sizes.slice(0, -1).reduce((sum, size) => sum + size, 0);
    const parted = (value: Value, sizes: readonly number[]): readonly Value[] =>
      split(value, 0, [...sizes.slice(0, -1), Number(value.shape[0]) - before(sizes)]);
    const ofCodes = parted(
      codes,
      blocks.map((count) => (count * blockSize) / 2),
    );
    const ofScales = parted(absmax, blocks);
    const x = made(node.inputs[0]!);
    const products = rows.map((count, i) =>
      matmul(x, dequantizeNf4(ofCodes[i]!, ofScales[i]!, { shape: [count, columns], blockSize }), { transposeB: true }),
    );
    return [concat(products, x.shape.length - 1)];
  });
}

/** What decodes W in a product x W^T. */
function decodedWeight({ op, inputs: [, weight], attributes }: Node): Node | undefined {
  if (op.name !== "matmul" || weight!.producer?.op.name !== "dequantizeNf4" || weight!.shape.length !== 2) return undefined;
  const { transposeA, transposeB, alpha = 1 } = attributes as MatmulOptions;
  return !transposeA && transposeB && alpha === 1 ? weight!.producer : undefined;
}

/** Parts of nearly equal size that begin where a block of codes does. */
function rowsOfParts([rows, columns]: readonly [number, number], { most, blockSize }: { most: number; blockSize: number }): number[] {
  const parts = Math.ceil((rows * columns) / most);
  const step = blockSize / greatestCommonDivisor(columns, blockSize);
  const each = Math.ceil(rows / parts / step) * step;
  return Array.from({ length: Math.ceil(rows / each) }, (_, i) => Math.min(each, rows - i * each));
}

const greatestCommonDivisor = (a: number, b: number): number => (b === 0 ? a : greatestCommonDivisor(b, a % b));
