/** What the walk over the nodes promises, apart from the rules of single operations. */
import fc from "fast-check";
import { expect, it } from "vitest";
import { gradients } from "../../src/tensor/autodiff.ts";
import { Graph, type Value } from "../../src/tensor/graph.ts";
import { interpret } from "../../src/tensor/interpret.ts";
import * as f from "../../src/tensor/ops/index.ts";
import { verifyGraph } from "../../src/tensor/passes/verify.ts";
import { dim } from "../../src/tensor/shape.ts";
import { checkGradient, GradientCase } from "./check-gradient.ts";

const vector = (graph: Graph, name: string): Value => graph.input(name, { dtype: "float32", shape: [2] });
const array = (...data: number[]) => ({ shape: [data.length], data: Float64Array.from(data) });
/** d sum(value) / d wrt */
const derivative = (value: Value, wrt: Value): Value | undefined =>
  gradients({ graph: value.graph, outputs: [{ value, gradient: f.broadcastTo(f.constant(value.graph, 1), value.shape) }], wrt: [wrt] })[0];
const opNames = (graph: Graph): string[] => graph.nodes.map((node) => node.op.name);

it("differentiates an MLP with softmax and cross-entropy over embedded tokens", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 5 }), fc.nat(), (tokens, seed) => {
      const c = new GradientCase(seed, { tokens });
      const T = dim("tokens");
      const [hidden, inner, vocabulary] = [4, 6, 7];
      const small = { low: -0.7, high: 0.7 };
      const embedding = c.operand([vocabulary, hidden], small);
      const x = f.gather(embedding, c.indices([T], vocabulary));
      const normalised = f.rmsNorm(x, c.operand([hidden]), { epsilon: 1e-2 });
      const gate = f.silu(f.matmul(normalised, c.operand([inner, hidden], small), { transposeB: true }));
      const up = f.add(f.matmul(normalised, c.operand([inner, hidden], small), { transposeB: true }), c.operand([inner], small));
      const attention = f.softmax(f.matmul(x, normalised, { transposeB: true, alpha: 0.5 }));
      const mixed = f.add(x, f.matmul(attention, f.matmul(f.mul(gate, up), c.operand([inner, hidden], small))));
      // The embedding is the output matrix too, so its gradient arrives on two paths.
      const logits = f.matmul(mixed, embedding, { transposeB: true });
      const target = f.reduceSum(f.mul(logits, c.fixed([T, vocabulary])), [-1]);
      checkGradient(c, [f.reduceSum(f.sub(f.logSumExp(logits), target), [0])], { tolerance: 1e-5 });
      verifyGraph(c.graph);
    }),
    { numRuns: 600 },
  );
});

it("adds up the gradients of a value that is used more than once", () => {
  const graph = new Graph();
  const x = vector(graph, "x");
  graph.output("dx", derivative(f.add(f.mul(x, x), f.mul(x, 3)), x)!);
  expect([...interpret(graph, { x: array(2, -1) }).dx!.data]).toEqual([7, 1]);
});

it("differentiates a gradient again", () => {
  const graph = new Graph();
  const x = vector(graph, "x");
  graph.output("second", derivative(derivative(f.mul(f.mul(x, x), x), x)!, x)!);
  expect([...interpret(graph, { x: array(2, -1) }).second!.data]).toEqual([12, -6]);
});

it("weighs several outputs by their own gradients", () => {
  const graph = new Graph();
  const [x, a, b] = [vector(graph, "x"), vector(graph, "a"), vector(graph, "b")];
  const outputs = [
    { value: f.mul(x, 2), gradient: a },
    { value: f.neg(x), gradient: b },
    { value: x, gradient: b },
  ];
  graph.output("dx", gradients({ graph, outputs, wrt: [x] })[0]!);
  expect([...interpret(graph, { x: array(5, 5), a: array(1, 10), b: array(7, 8) }).dx!.data]).toEqual([2, 20]);
});

it("differentiates by a value inside the graph and goes no further back", () => {
  const graph = new Graph();
  const middle = f.exp(vector(graph, "x"));
  const value = f.mul(middle, middle);
  const before = graph.nodes.length;
  graph.output("d", derivative(value, middle)!);
  expect(opNames(graph).slice(before)).not.toContain("exp");
  expect(interpret(graph, { x: array(0, 1) }).d!.data[1]).toBeCloseTo(2 * Math.E, 12);
});

it("gives undefined where nothing depends on the value, and adds no node", () => {
  const graph = new Graph();
  const [x, y] = [vector(graph, "x"), vector(graph, "y")];
  const value = f.exp(f.add(f.stopGradient(x), y));
  const seed = vector(graph, "seed");
  const before = graph.nodes.length;
  expect(gradients({ graph, outputs: [{ value: f.exp(y), gradient: seed }], wrt: [x] })).toEqual([undefined]);
  expect(graph.nodes.length).toBe(before + 1);
  expect(gradients({ graph, outputs: [{ value, gradient: seed }], wrt: [x] })).toEqual([undefined]);
});

it("asks for a rule only on the way from the loss to what is trained", () => {
  const graph = new Graph();
  const [x, y] = [vector(graph, "x"), vector(graph, "y")];
  const value = f.sub(f.mul(x, 2), f.reduceMax(y, [0]));
  expect(derivative(value, x)).toBeDefined();
  expect(derivative(f.sub(x, f.stopGradient(f.reduceMax(x, [0]))), x)).toBeDefined();
  expect(() => derivative(value, y)).toThrow("reduceMax has no gradient rule");
});

it.each<[string, (x: Value, weight: Value) => Value]>([
  ["reduceMean", (x) => f.reduceMean(x, [0])],
  ["rmsNorm", (x, weight) => f.rmsNorm(x, weight, { epsilon: 1e-6 })],
  ["layerNorm", (x, weight) => f.layerNorm(x, weight, weight, { epsilon: 1e-6 })],
])("%s says that it cannot divide by a named size", (op, build) => {
  const graph = new Graph();
  const [x, weight] = [
    graph.input("x", { dtype: "float32", shape: [dim("n")] }),
    graph.input("w", { dtype: "float32", shape: [dim("n")] }),
  ];
  expect(() => derivative(build(x, weight), x)).toThrow(`${op} has no gradient over the named size n`);
});

it("refuses a gradient of another shape than its value", () => {
  const graph = new Graph();
  const x = vector(graph, "x");
  expect(() => gradients({ graph, outputs: [{ value: f.neg(x), gradient: f.constant(graph, 1) }], wrt: [x] })).toThrow(
    "gradient of shape [] for a value of shape [2]",
  );
});

it("transposes inside matrix products, and flattens the rows that share a weight", () => {
  const graph = new Graph();
  const x = graph.input("x", { dtype: "float32", shape: [dim("batch"), 3, 4] });
  const weight = graph.input("weight", { dtype: "float32", shape: [5, 4] });
  const seed = graph.input("seed", { dtype: "float32", shape: [dim("batch"), 3, 5] });
  const value = f.matmul(x, weight, { transposeB: true, alpha: 2 });
  const [dx, dWeight] = gradients({ graph, outputs: [{ value, gradient: seed }], wrt: [x, weight] });
  expect(opNames(graph)).toEqual(["matmul", "matmul", "reshape", "reshape", "matmul"]);
  expect(dx!.producer!.inputs).toEqual([seed, weight]);
  expect(dWeight!.producer!.inputs.map(({ shape }) => shape.length)).toEqual([2, 2]);
});
