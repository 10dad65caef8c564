import { describe, expect, it } from "vitest";
import { gradients } from "../autodiff.ts";
import { Graph, type Node, printGraph, type ReferenceArray, type Value } from "../graph.ts";
import { interpret } from "../interpret.ts";
import * as f from "../ops/index.ts";
import { dim } from "../shape.ts";
import { extract } from "./extract.ts";
import { verifyGraph } from "./verify.ts";

const n = dim("n");
const input = (graph: Graph, name: string): Value => graph.input(name, { dtype: "float32", shape: [n] });
const array = (...data: number[]): ReferenceArray => ({ shape: [data.length], data: Float64Array.from(data) });
const opNames = (graph: Graph): string[] => graph.nodes.map((node) => node.op.name);
/** The parts of a graph that the compiler keeps read-only, opened up to damage them. */
type Open<T> = { -readonly [K in keyof T]: T[K] };

describe("extract", () => {
  const none = new Map<string, Value>();

  it("copies what the outputs need and leaves the rest", () => {
    const graph = new Graph();
    const [x] = [input(graph, "x"), input(graph, "unused")];
    const y = f.exp(x);
    f.tanh(y);
    graph.output("left", f.neg(x));
    const copy = verifyGraph(extract({ graph, inputs: none, outputs: new Map([["y", y]]) }));
    expect(opNames(copy)).toEqual(["exp"]);
    expect([...copy.inputs.keys()]).toEqual(["x"]);
    expect([...copy.outputs.keys()]).toEqual(["y"]);
    expect(opNames(graph)).toEqual(["exp", "tanh", "neg"]);
  });

  it("cuts at given values, which become inputs", () => {
    const graph = new Graph();
    const [x, scale] = [input(graph, "x"), input(graph, "scale")];
    const middle = f.exp(x);
    const y = f.mul(middle, scale);
    const copy = verifyGraph(extract({ graph, inputs: new Map([["middle", middle]]), outputs: new Map([["y", y]]) }));
    expect([...copy.inputs.keys()].sort()).toEqual(["middle", "scale"]);
    expect(opNames(copy)).toEqual(["mul"]);
    expect(interpret(copy, { middle: array(2, 3), scale: array(10, 100) }).y).toEqual(array(20, 300));
  });

  it("leaves out cut values that nothing needs", () => {
    const graph = new Graph();
    const x = input(graph, "x");
    const copy = extract({ graph, inputs: new Map([["early", f.exp(x)]]), outputs: new Map([["y", f.neg(x)]]) });
    expect([...copy.inputs.keys()]).toEqual(["x"]);
  });

  it("cuts one of two results of a node and makes the other", () => {
    const graph = new Graph();
    const x = graph.input("x", { dtype: "float32", shape: [4] });
    const [a, b] = f.split(x, 0, [1, 3]) as [Value, Value];
    const copy = verifyGraph(extract({ graph, inputs: new Map([["a", a]]), outputs: new Map([["y", f.mul(b, a)]]) }));
    expect(interpret(copy, { x: array(1, 2, 3, 4), a: array(10) }).y).toEqual(array(20, 30, 40));
  });

  it("can return an input and a cut value", () => {
    const graph = new Graph();
    const x = input(graph, "x");
    const y = f.exp(x);
    const copy = verifyGraph(
      extract({
        graph,
        inputs: new Map([["cut", y]]),
        outputs: new Map([
          ["x", x],
          ["y", y],
        ]),
      }),
    );
    expect(interpret(copy, { x: array(1), cut: array(5) })).toEqual({ x: array(1), y: array(5) });
  });

  it("makes equal nodes one, also along a chain", () => {
    const graph = new Graph();
    const x = input(graph, "x");
    const twice = (): Value => f.mul(f.exp(x), 2);
    const copy = extract({ graph, inputs: none, outputs: new Map([["y", f.add(twice(), twice())]]) });
    expect(opNames(copy)).toEqual(["exp", "constant", "mul", "add"]);
  });

  it("keeps nodes apart that differ in an attribute only", () => {
    const graph = new Graph();
    const outputs = new Map<string, Value>();
    for (const value of [0, -0, 1, Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
      outputs.set(Object.is(value, -0) ? "-0" : `${value}`, f.constant(graph, value));
    }
    outputs.set("n", f.zeros(graph, [n]));
    outputs.set("m", f.zeros(graph, [dim("m")]));
    const x = input(graph, "x");
    outputs.set("sum", f.reduceSum(x, [0]));
    outputs.set("kept", f.reduceSum(x, [0], { keepDims: true }));
    expect(extract({ graph, inputs: none, outputs }).nodes).toHaveLength(outputs.size);
  });

  it("carries over which values to keep, apart from inputs", () => {
    const graph = new Graph();
    const x = graph.keep(input(graph, "x"));
    const [cut, made, unused] = [graph.keep(f.exp(x)), graph.keep(f.tanh(x)), graph.keep(f.neg(x))];
    expect(unused.graph).toBe(graph);
    const copy = extract({ graph, inputs: new Map([["cut", cut]]), outputs: new Map([["y", f.add(f.add(cut, made), x)]]) });
    expect([...copy.kept].map((value) => value.producer?.op.name)).toEqual(["tanh"]);
  });

  it("splits forward from backward: together they give the gradient of the whole", () => {
    const graph = new Graph();
    const [x, w] = [input(graph, "x"), input(graph, "w")];
    const hidden = graph.keep(f.tanh(f.mul(x, w)));
    const y = f.mul(hidden, f.exp(hidden));
    const seed = input(graph, "seed");
    const [dw] = gradients({ graph, outputs: [{ value: y, gradient: seed }], wrt: [w] });
    const values = { x: array(1, -2, 0.5), w: array(0.3, 0.4, -1), seed: array(1, 2, 3) };
    const whole = interpret(extract({ graph, inputs: none, outputs: new Map([["dw", dw!]]) }), values);

    const forward = verifyGraph(
      extract({
        graph,
        inputs: none,
        outputs: new Map([
          ["y", y],
          ["hidden", hidden],
        ]),
      }),
    );
    const backward = verifyGraph(extract({ graph, inputs: new Map([["hidden", hidden]]), outputs: new Map([["dw", dw!]]) }));
    expect(opNames(backward)).not.toContain("tanh");
    expect([...backward.inputs.keys()].sort()).toEqual(["hidden", "seed", "x"]);
    const { hidden: made } = interpret(forward, values);
    expect(interpret(backward, { ...values, hidden: made! })).toEqual(whole);
  });
});

describe("printGraph", () => {
  const print = (build: (graph: Graph) => Value): string => {
    const graph = new Graph();
    graph.output("y", build(graph));
    return printGraph(graph);
  };
  it("is equal for equal programs", () => {
    const build = (graph: Graph): Value => f.add(f.exp(input(graph, "x")), 2);
    expect(print(build)).toBe(print(build));
    expect(print(build)).toBe(
      'input %x: float32[n]\n%0: float32[n] = exp(%x) {}\n%1: float32[] = constant() {"value":2,"dtype":"float32"}\n%2: float32[n] = add(%0, %1) {}\noutput y = %2',
    );
  });
  it("differs for programs that differ in an infinity, a sign of zero, a size or the wiring", () => {
    const different = [
      ...[0, -0, Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY].map((value) => print((graph) => f.constant(graph, value))),
      print((graph) => f.zeros(graph, [n])),
      print((graph) => f.zeros(graph, [2])),
      print((graph) => f.sub(input(graph, "x"), f.exp(graph.inputs.get("x")!))),
      print((graph) => f.sub(f.exp(input(graph, "x")), graph.inputs.get("x")!)),
    ];
    expect(new Set(different).size).toBe(different.length);
  });
});

describe("verifyGraph", () => {
  function sound(): Graph {
    const graph = new Graph();
    graph.output("y", graph.keep(f.add(f.exp(input(graph, "x")), 1)));
    return graph;
  }
  const damaged = (damage: (graph: Graph, nodes: Open<Node>[]) => void) => {
    const graph = sound();
    damage(graph, graph.nodes as Open<Node>[]);
    return () => verifyGraph(graph);
  };

  it("returns a sound graph", () => {
    const graph = sound();
    expect(verifyGraph(graph)).toBe(graph);
  });
  it("finds a value that is used before it is made", () =>
    expect(damaged((_, nodes) => nodes.reverse())).toThrow("node 0 (add) reads a value that is not made before it."));
  it("finds an operand of another graph", () => {
    expect(
      damaged((_, nodes) => {
        nodes[0]!.inputs = [input(new Graph(), "z")];
      }),
    ).toThrow("node 0 (exp) reads a value");
  });
  it("finds a type that the operation does not give", () => {
    const wrong = (change: object) =>
      damaged((_, [node]) => {
        Object.assign(node!.outputs[0]!, change);
      });
    expect(wrong({ shape: [3] })).toThrow("node 0 (exp): output 0 is float32[3]; its operation gives float32[n].");
    expect(wrong({ dtype: "int64" })).toThrow("node 0 (exp): output 0 is int64[n]; its operation gives float32[n].");
  });
  it("finds a missing result", () =>
    expect(
      damaged((_, [node]) => {
        node!.outputs = [];
      }),
    ).toThrow("node 0 (exp) has 0 outputs; its operation gives 1."));
  it("finds operands that do not fit any more", () => {
    const graph = new Graph();
    const x = graph.input("x", { dtype: "float32", shape: [2] });
    graph.output("y", f.add(x, x));
    (graph.nodes[0] as Open<Node>).inputs = [x, graph.input("z", { dtype: "float32", shape: [3] })];
    expect(() => verifyGraph(graph)).toThrow("shapes [2] and [3] do not broadcast");
  });
  it("finds outputs and kept values that are not of the graph", () => {
    expect(damaged((graph) => graph.outputs.set("y", input(new Graph(), "z")))).toThrow('output "y" is not made by this graph.');
    expect(damaged((graph) => graph.keep(input(new Graph(), "z")))).toThrow("a kept value is not made by this graph.");
  });
});
