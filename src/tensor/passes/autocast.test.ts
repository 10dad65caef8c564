import { describe, expect, it } from "vitest";
import { gradients } from "../autodiff.ts";
import { Graph, type Value } from "../graph.ts";
import { interpret } from "../interpret.ts";
import { add, cast, matmul, mul, silu, softmax } from "../ops/index.ts";
import { ops } from "../ops/registry.ts";
import { dim } from "../shape.ts";
import { autocast, precisionOf } from "./autocast.ts";
import { extract } from "./extract.ts";

const [T, C] = [dim("T"), 4];

/** The graph with what is not read left out, and the types of each operation's operands and first result. */
function typesIn(graph: Graph): Record<string, string> {
  const used = extract({ graph, inputs: new Map(), outputs: graph.outputs });
  return Object.fromEntries(
    used.nodes.map(({ op, inputs, outputs }) => [op.name, `${inputs.map(({ dtype }) => dtype)} -> ${outputs[0]!.dtype}`]),
  );
}

const countOf = (graph: Graph, name: string): number =>
  extract({ graph, inputs: new Map(), outputs: graph.outputs }).nodes.filter(({ op }) => op.name === name).length;

const floats = (graph: Graph, name: string, shape: Value["shape"]): Value => graph.input(name, { dtype: "float32", shape });

describe("autocast", () => {
  it("knows every operation", () => {
    expect(Object.keys(precisionOf).sort()).toEqual(ops.map(({ name }) => name).sort());
  });

  it("multiplies in float16 and takes softmax in float32; inputs and outputs keep their types", () => {
    const graph = new Graph();
    const x = floats(graph, "x", [T, C]);
    graph.output("y", matmul(softmax(matmul(x, floats(graph, "w", [C, C]))), floats(graph, "v", [C, C])));
    const half = autocast(graph);
    expect(typesIn(half)).toMatchObject({ matmul: "float16,float16 -> float16", softmax: "float32 -> float32" });
    expect(half.outputs.get("y")!.dtype).toBe("float32");
    expect([...half.inputs.values()].map(({ dtype }) => dtype)).toEqual(["float32", "float32", "float32"]);
  });

  it("lets a bias and a number follow the product, widens a sum with a float32 tensor, and widens inside an activation", () => {
    const graph = new Graph();
    const x = floats(graph, "x", [T, C]);
    const product = matmul(x, floats(graph, "w", [C, C]));
    graph.keep(product);
    const biased = mul(add(product, floats(graph, "bias", [C])), 0.5);
    graph.output("y", add(x, silu(biased)));
    const half = autocast(graph);
    expect([...half.kept].map(({ dtype }) => dtype)).toEqual(["float16"]);
    expect(typesIn(half)).toMatchObject({
      mul: "float16,float16 -> float16",
      silu: "float32 -> float32",
      add: "float32,float32 -> float32",
    });
    expect(half.nodes.filter(({ op }) => op.name === "add").map(({ outputs }) => outputs[0]!.dtype)).toEqual(["float16", "float32"]);
  });

  it("keeps a number that float16 does not hold", () => {
    const graph = new Graph();
    graph.output("y", add(matmul(floats(graph, "x", [T, C]), floats(graph, "w", [C, C])), 1e-12));
    expect(typesIn(autocast(graph))).toMatchObject({ add: "float32,float32 -> float32" });
  });

  it("reads a weight that is stored in float16 as it is", () => {
    const graph = new Graph();
    const stored = graph.input("w", { dtype: "float16", shape: [C, C] });
    graph.output("y", matmul(floats(graph, "x", [T, C]), cast(stored, "float32")));
    expect(countOf(autocast(graph), "cast")).toBe(2); // of x, and of the result
  });

  it("rounds as float16 does, overflow included", () => {
    const graph = new Graph();
    graph.output("y", matmul(floats(graph, "x", [1, 2]), floats(graph, "w", [2, 1])));
    const run = (x: number[], w: number[]): number =>
      interpret(autocast(graph), {
        x: { shape: [1, 2], data: Float64Array.from(x) },
        w: { shape: [2, 1], data: Float64Array.from(w) },
      }).y!.data[0]!;
    expect(run([1, 0.1], [1, 1])).toBe(1.099609375);
    expect(run([300, 0], [300, 0])).toBe(Number.POSITIVE_INFINITY);
  });

  it("gives float32 gradients to float32 inputs, through products in float16", () => {
    const graph = new Graph();
    const w = floats(graph, "w", [C, C]);
    const bias = floats(graph, "bias", [C]);
    graph.output("y", add(matmul(floats(graph, "x", [T, C]), w), bias));
    const half = autocast(graph);
    const seed = floats(half, "seed", [T, C]);
    const [ofW, ofBias] = gradients({
      graph: half,
      outputs: [{ value: half.outputs.get("y")!, gradient: seed }],
      wrt: ["w", "bias"].map((name) => half.inputs.get(name)!),
    });
    expect([ofW!.dtype, ofBias!.dtype]).toEqual(["float32", "float32"]);
    const backward = extract({
      graph: half,
      inputs: new Map(),
      outputs: new Map([
        ["w", ofW!],
        ["bias", ofBias!],
      ]),
    });
    expect(typesIn(backward)).toMatchObject({ matmul: "float16,float16 -> float16", reduceSum: "float32 -> float32" });
  });
});
