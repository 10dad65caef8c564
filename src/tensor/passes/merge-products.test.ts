import { describe, expect, it } from "vitest";
import { gradients } from "../autodiff.ts";
import { Graph, type ReferenceArray, type Value } from "../graph.ts";
import { interpret } from "../interpret.ts";
import * as f from "../ops/index.ts";
import { extract } from "./extract.ts";
import { mergeProducts } from "./merge-products.ts";
import { verifyGraph } from "./verify.ts";

const float = (graph: Graph, name: string, shape: number[]): Value => graph.input(name, { dtype: "float32", shape });
const filled = (...shape: number[]): ReferenceArray => ({
  shape,
  data: Float64Array.from({ length: shape.reduce((a, b) => a * b) }, (_, i) => Math.sin(i + 1)),
});

/** x A^T, x B^T 3 and (x C^T) * 2, with another product between them. */
function siblings(): Graph {
  const graph = new Graph();
  const [x, a, b, c] = [float(graph, "x", [4, 3]), float(graph, "a", [2, 3]), float(graph, "b", [1, 3]), float(graph, "c", [5, 3])];
  const first = graph.keep(f.matmul(x, a, { transposeB: true }));
  graph.output("other", f.matmul(x, b, { transposeB: true, alpha: 3 }));
  graph.output("second", f.mul(f.matmul(x, c, { transposeB: true }), 2));
  graph.output("first", f.exp(first));
  return graph;
}
const values = { x: filled(4, 3), a: filled(2, 3), b: filled(1, 3), c: filled(5, 3) };
const products = (graph: Graph): number => graph.nodes.filter(({ op }) => op.name === "matmul").length;

describe("mergeProducts", () => {
  it("joins narrow products of one left operand and scale, and gives the same values", () => {
    const graph = siblings();
    const merged = verifyGraph(mergeProducts(graph));
    expect([products(graph), products(merged)]).toEqual([3, 2]);
    expect(interpret(merged, values)).toEqual(interpret(graph, values));
    expect(merged.kept.size).toBe(1);
  });

  it("gives the same gradients, with fewer products", () => {
    const [plain, merged] = [siblings(), mergeProducts(siblings())].map((graph) => {
      const seeds = ["first", "second"].map((name) => ({ value: graph.outputs.get(name)!, gradient: graph.outputs.get(name)! }));
      const wrt = ["x", "a", "c"].map((name) => graph.inputs.get(name)!);
      const found = gradients({ graph, outputs: seeds, wrt });
      return extract({ graph, inputs: new Map(), outputs: new Map(found.map((value, i) => [`gradient.${i}`, value!])) });
    }) as [Graph, Graph];
    expect(products(merged)).toBeLessThan(products(plain));
    const [expected, actual] = [interpret(plain, values), interpret(merged, values)];
    for (const [name, { shape, data }] of Object.entries(expected)) {
      expect(actual[name]!.shape).toEqual(shape);
      for (const [i, value] of data.entries()) expect(actual[name]!.data[i]).toBeCloseTo(value, 12);
    }
  });

  it("leaves wide products, and right operands that the graph makes itself", () => {
    const graph = new Graph();
    const [x, small] = [float(graph, "x", [4, 3]), float(graph, "small", [2, 3])];
    const wide = ["a", "b"].map((name) => float(graph, `wide ${name}`, [65, 3]));
    for (const [i, right] of [...wide, f.neg(small), f.exp(small)].entries())
      graph.output(`${i}`, f.matmul(x, right, { transposeB: true }));
    expect(products(mergeProducts(graph))).toBe(4);
  });

  it("makes one of equal products, which then has one gradient", () => {
    const graph = new Graph();
    const [x, wide] = [float(graph, "x", [4, 3]), float(graph, "wide", [65, 3])];
    const [a, b] = [f.matmul(x, wide, { transposeB: true }), f.matmul(x, wide, { transposeB: true })];
    graph.output("y", f.add(f.mul(a, 2), f.exp(b)));
    const merged = mergeProducts(graph);
    const y = merged.outputs.get("y")!;
    const [gradient] = gradients({ graph: merged, outputs: [{ value: y, gradient: y }], wrt: [merged.inputs.get("x")!] });
    expect(products(extract({ graph: merged, inputs: new Map(), outputs: new Map([["gradient", gradient!]]) }))).toBe(2);
    expect(interpret(merged, { x: filled(4, 3), wide: filled(65, 3) })).toEqual(interpret(graph, { x: filled(4, 3), wide: filled(65, 3) }));
  });
});
