/** Small graphs that a pass runs on a device between those of the model: sums, rows that are taken out and put back. Each is compiled once for all sizes. */
import type { DeviceExecutable, DeviceMemory, DeviceTensor, Tensor } from "../backends/backend.ts";
import { Graph, type TensorType, type Value } from "../tensor/graph.ts";
import { add, gather, mul, reduceSum, reshape, scatterAddRows, zeros } from "../tensor/ops/index.ts";
import { type Dim, dim, sizeOf } from "../tensor/shape.ts";

/** Tensors in one call: fewer calls, but results stand beside operands until the call ends. */
const tensorsAtOnce = 16;

export class DevicePrograms {
  readonly #memory: DeviceMemory;
  readonly #compiled = new Map<string, Promise<DeviceExecutable>>();

  constructor(memory: DeviceMemory) {
    this.#memory = memory;
  }

  /** The graph of this name, built where it is not known yet. */
  compile(name: string, build: (graph: Graph) => void): Promise<DeviceExecutable> {
    const known = this.#compiled.get(name);
    if (known) return known;
    const graph = new Graph();
    build(graph);
    const compiled = this.#memory.compile(graph, { name });
    this.#compiled.set(name, compiled);
    return compiled;
  }

  async zeros(shape: readonly number[]): Promise<DeviceTensor> {
    const program = await this.compile(`zeros [${shape}]`, (graph) => graph.output("zeros", zeros(graph, shape)));
    return (await program.run({})).zeros!;
  }

  async copy(tensor: Tensor): Promise<DeviceTensor> {
    const rank = tensor.dims.length;
    const program = await this.compile(`copy of rank ${rank}`, (graph) => graph.output("copy", mul(floats(graph, "x.0", rank), 1)));
    return (await program.run({ "x.0": tensor })).copy!;
  }

  /** a + b of every pair. */
  async sums(pairs: readonly (readonly [Tensor, Tensor])[]): Promise<DeviceTensor[]> {
    const sums: DeviceTensor[] = [];
    for (const some of inPieces(pairs)) {
      const ranks = some.map(([a]) => a.dims.length);
      const program = await this.compile(`sums of ranks ${ranks}`, (graph) => {
        for (const [i, rank] of ranks.entries())
          graph.output(`sum.${i}`, add(floats(graph, `a.${i}`, rank), floats(graph, `b.${i}`, rank)));
      });
      const given = some.flatMap(([a, b], i) => [[`a.${i}`, a] as const, [`b.${i}`, b] as const]);
      const results = await program.run(Object.fromEntries(given));
      sums.push(...some.map((_, i) => results[`sum.${i}`]!));
    }
    return sums;
  }

  /** The sum of the squares of all elements, []. */
  async sumOfSquares(tensors: readonly Tensor[]): Promise<DeviceTensor> {
    let total: Tensor = { dtype: "float32", dims: [], data: new Float32Array(1) };
    for (const some of inPieces(tensors)) {
      const ranks = some.map(({ dims }) => dims.length);
      const program = await this.compile(`squares of ranks ${ranks}`, (graph) => {
        const squares = ranks.map((rank, i) => squaresOf(floats(graph, `x.${i}`, rank)));
        graph.output("total", squares.reduce(add, graph.input("before", { dtype: "float32", shape: [] })));
      });
      const before: Tensor = total;
      total = (await program.run({ before, ...Object.fromEntries(some.map((x, i) => [`x.${i}`, x])) })).total!;
      if ("handle" in before) before.dispose();
    }
    return total as DeviceTensor;
  }

  /** Rows added into a table of this shape, or into zeros. */
  async addRows(shape: readonly number[], { into, indices, updates }: RowsToAdd): Promise<DeviceTensor> {
    const rank = indices.dims.length;
    const program = await this.compile(`${into ? "" : "first "}rows of rank ${rank} into [${shape}]`, (graph) => {
      const sizes = symbols("rows", rank);
      const at = graph.input("indices", { dtype: "int64", shape: sizes });
      const rows = scatterAddRows(at, graph.input("updates", { dtype: "float32", shape: [...sizes, ...shape.slice(1)] }), shape[0]!);
      graph.output("table", into ? add(graph.input("into", { dtype: "float32", shape }), rows) : rows);
    });
    return (await program.run({ indices, updates, ...(into && { into }) })).table!;
  }

  /** Rows of a hidden state [B, T, C] at flat positions, [n, C]. */
  async gatherRows(hidden: Tensor, positions: Tensor): Promise<DeviceTensor> {
    const program = await this.compile("rows of a hidden state", (graph) => {
      const flat = reshape(graph.input("hidden", hiddenType), [sizeOf(hiddenType.shape.slice(0, 2)), hiddenType.shape[2]!]);
      graph.output("rows", gather(flat, graph.input("positions", positionsType)));
    });
    return (await program.run({ hidden, positions })).rows!;
  }

  /** Zeros of a hidden state's shape with rows [n, C] at flat positions. */
  async spreadRows(rows: Tensor, { hidden, positions }: { hidden: Tensor; positions: Tensor }): Promise<DeviceTensor> {
    const program = await this.compile("gradient of rows of a hidden state", (graph) => {
      const { shape } = graph.input("hidden", hiddenType); // only its sizes are read
      const at = graph.input("positions", positionsType);
      const updates = graph.input("rows", { dtype: "float32", shape: [...positionsType.shape, shape[2]!] });
      graph.output("gradient", reshape(scatterAddRows(at, updates, sizeOf(shape.slice(0, 2))), shape));
    });
    return (await program.run({ hidden, positions, rows })).gradient!;
  }
}

export interface RowsToAdd {
  readonly into?: Tensor | undefined;
  /** int64 [...]. */
  readonly indices: Tensor;
  /** [..., width]. */
  readonly updates: Tensor;
}

const hiddenType = { dtype: "float32", shape: [dim("batch"), dim("tokens"), dim("width")] } as const satisfies TensorType;
const positionsType = { dtype: "int64", shape: [dim("positions")] } as const satisfies TensorType;

const symbols = (prefix: string, rank: number): Dim[] => Array.from({ length: rank }, (_, axis) => dim(`${prefix}${axis}`));

/** Sizes of the tensors with a number, of a rank. */
export const sizesOf = (number: number | string, rank: number): Dim[] => symbols(`size${number}x`, rank);

/** A float32 input of a rank, whose sizes are named after its number, so that `a.3` and `b.3` are of one shape. */
export const floats = (graph: Graph, name: string, rank: number): Value =>
  graph.input(name, { dtype: "float32", shape: sizesOf(name.split(".").at(-1)!, rank) });

/** Rows first, so that no float32 sum gets long. */
function squaresOf(x: Value): Value {
  const square = mul(x, x);
  if (x.shape.length === 0) return square;
  const rows = reduceSum(square, [-1]);
  return reduceSum(
    rows,
    rows.shape.map((_, axis) => axis),
  );
}

export function* inPieces<Item>(items: readonly Item[]): Generator<Item[]> {
  for (let start = 0; start < items.length; start += tensorsAtOnce) yield items.slice(start, start + tensorsAtOnce);
}
