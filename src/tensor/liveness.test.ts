import { expect, it } from "vitest";
import { Graph, type Value } from "./graph.ts";
import { peakIntermediateBytes } from "./liveness.ts";
import { add, dequantizeNf4, exp, matmul, reduceSum, reshape, transpose } from "./ops/index.ts";
import { dim } from "./shape.ts";

const bytes = 10 * 4 * 4;
const bindings = { n: 10 };
const input = (graph: Graph): Value => graph.input("x", { dtype: "float32", shape: [dim("n"), 4] });
const turn = (x: Value): Value => transpose(x, [1, 0]);

it("counts values between inputs and outputs while they are needed", () => {
  const graph = new Graph();
  // a and b are alive together, then b (under another shape) and c; the result lives elsewhere.
  const a = turn(input(graph));
  const b = turn(a);
  const c = turn(reshape(b, [4, dim("n")]));
  graph.output("y", turn(c));
  expect(peakIntermediateBytes({ graph, bindings, held: () => true })).toBe(2 * bytes);
  expect(peakIntermediateBytes({ graph, bindings, held: () => false })).toBe(2 * bytes);
});

it("writes what comes element by element over an operand that ends there", () => {
  const graph = new Graph();
  const x = input(graph);
  const a = exp(x); // not over an input
  graph.output("y", add(exp(a), a)); // exp(a) beside a, then the sum over one of them
  expect(peakIntermediateBytes({ graph, bindings, held: () => false })).toBe(2 * bytes);
  const inPlace = new Graph();
  inPlace.output("y", exp(exp(exp(input(inPlace)))));
  expect(peakIntermediateBytes({ graph: inPlace, bindings, held: () => false })).toBe(bytes);
});

it("follows the runtime from result to result, not the order in which nodes were written", () => {
  const graph = new Graph();
  const x = input(graph);
  const wide = [1, 2, 3].map((factor) => turn(add(x, factor)));
  // Each is summed as soon as it is there, though all were written first.
  for (const [i, value] of wide.entries()) graph.output(`sum ${i}`, reduceSum(value, [0]));
  expect(peakIntermediateBytes({ graph, bindings, held: () => true })).toBe(2 * bytes);
  const product = new Graph();
  const y = input(product);
  product.output("y", matmul(turn(y), y));
  expect(peakIntermediateBytes({ graph: product, bindings, held: () => true })).toBe(bytes);
});

it("counts decoded weights beside each product that reads them, not between", () => {
  const graph = new Graph();
  const [codes, absmax] = [graph.input("codes", { dtype: "uint8", shape: [32] }), graph.input("absmax", { dtype: "float32", shape: [2] })];
  const weight = dequantizeNf4(codes, absmax, { shape: [16, 4], blockSize: 32 });
  const wide = matmul(input(graph), weight, { transposeB: true }); // [10, 16]
  graph.output("y", matmul(turn(turn(wide)), weight));
  // The first product beside the weight; then two of its turns, without it.
  expect(peakIntermediateBytes({ graph, bindings, held: () => true })).toBe(Math.max(10 * 16 + 16 * 4, 2 * 10 * 16) * 4);
});
