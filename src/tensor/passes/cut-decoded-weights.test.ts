import { describe, expect, it } from "vitest";
import { gradients } from "../autodiff.ts";
import { Graph, type ReferenceArray } from "../graph.ts";
import { interpret } from "../interpret.ts";
import * as f from "../ops/index.ts";
import { cutDecodedWeights } from "./cut-decoded-weights.ts";
import { extract } from "./extract.ts";
import { verifyGraph } from "./verify.ts";

const blockSize = 32;
const numbers = (length: number, at: (i: number) => number): ReferenceArray => ({
  shape: [length],
  data: Float64Array.from({ length }, (_, i) => at(i)),
});

/** exp(x W^T) with W [rows, columns] as codes whose scales end in padding, and the gradient of x. */
function product(rows: number, columns: number, { alsoReads = false } = {}) {
  const graph = new Graph();
  const blocks = Math.ceil((rows * columns) / blockSize);
  const x = graph.input("x", { dtype: "float32", shape: [2, columns] });
  const codes = graph.input("codes", { dtype: "uint8", shape: [(blocks * blockSize) / 2] });
  const absmax = graph.input("absmax", { dtype: "float32", shape: [blocks + 5] });
  const weight = f.dequantizeNf4(codes, absmax, { shape: [rows, columns], blockSize });
  graph.output("y", graph.keep(f.exp(f.matmul(x, weight, { transposeB: true }))));
  if (alsoReads) graph.output("squares", f.mul(weight, weight));
  const values = {
    x: { shape: [2, columns], data: Float64Array.from({ length: 2 * columns }, (_, i) => Math.sin(i + 1) / columns) },
    codes: numbers((blocks * blockSize) / 2, (i) => (i * 37) % 256),
    absmax: numbers(blocks + 5, (i) => 1 + i / 8),
  };
  return { graph, values };
}

function withGradient(graph: Graph): Graph {
  const y = graph.outputs.get("y")!;
  const [ofX] = gradients({ graph, outputs: [{ value: y, gradient: y }], wrt: [graph.inputs.get("x")!] });
  return extract({ graph, inputs: new Map(), outputs: new Map([...graph.outputs, ["x.gradient", ofX!]]) });
}

const decodedShapes = (graph: Graph) => graph.nodes.filter(({ op }) => op.name === "dequantizeNf4").map(({ outputs: [of] }) => of!.shape);

describe("cutDecodedWeights", () => {
  it.each([
    [8, 32, [3, 3, 2]],
    // A row is a block and a half, so that parts begin at even rows.
    [9, 48, [4, 4, 1]],
  ])("takes a weight [%i, %i] in parts, with the same values and gradients", (rows, columns, parts) => {
    const most = Math.ceil((rows * columns) / 3);
    const { graph, values } = product(rows, columns);
    const parted = verifyGraph(withGradient(cutDecodedWeights(graph, { most })));
    const whole = withGradient(graph);
    expect(decodedShapes(whole)).toEqual([[rows, columns]]);
    expect(decodedShapes(parted)).toEqual(parts.map((count) => [count, columns]));
    const [expected, actual] = [interpret(whole, values), interpret(parted, values)];
    expect(actual.y).toEqual(expected.y);
    for (const [i, value] of expected["x.gradient"]!.data.entries()) expect(actual["x.gradient"]!.data[i]).toBeCloseTo(value, 12);
  });

  it("leaves weights that are small enough, and those that something else reads", () => {
    const { graph } = product(8, 32);
    expect(decodedShapes(cutDecodedWeights(graph))).toEqual([[8, 32]]);
    const shared = product(8, 32, { alsoReads: true }).graph;
    expect(decodedShapes(cutDecodedWeights(shared, { most: 64 }))).toEqual([[8, 32]]);
  });
});
