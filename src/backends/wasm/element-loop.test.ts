import { describe, expect, it } from "vitest";
import { createRandom } from "../../base/random.ts";
import { Graph, type Value } from "../../tensor/graph.ts";
import * as f from "../../tensor/ops/index.ts";
import { dim, type Shape } from "../../tensor/shape.ts";
import type { Executable, HostTensor } from "../backend.ts";
import { referenceBackend } from "../reference.ts";
import { compileElementLoop } from "./element-loop.ts";
import { VectorMemory } from "./vector-memory.ts";

type Build = (operands: { a: Value; b: Value; scalar: Value; graph: Graph }) => Readonly<Record<string, Value>>;

function graphOf(build: Build, shape: Shape = [dim("n")]): Graph {
  const graph = new Graph();
  const [a, b] = ["a", "b"].map((name) => graph.input(name, { dtype: "float32", shape })) as [Value, Value];
  const scalar = graph.input("scalar", { dtype: "float32", shape: [] });
  for (const [name, value] of Object.entries(build({ a, b, scalar, graph }))) graph.output(name, value);
  return graph;
}

const loopOf = (graph: Graph): Executable => compileElementLoop(graph, { name: "loop" })!;

/** Eighths between -2 and 2, so that some are equal. */
function operands(dims: readonly number[]): Record<string, HostTensor> {
  const random = createRandom(3);
  const length = dims.reduce((product, n) => product * n, 1);
  const draw = (): Float32Array => Float32Array.from({ length }, () => random.integer(33) / 8 - 2);
  return {
    a: { dtype: "float32", dims, data: draw() },
    b: { dtype: "float32", dims, data: draw() },
    scalar: { dtype: "float32", dims: [], data: Float32Array.of(0.75) },
  };
}

const asNumber = (mask: Value): Value => f.cast(mask, "float32");
const cases: Readonly<Record<string, Build>> = {
  "sums, products and quotients": ({ a, b, scalar }) => ({ out: f.div(f.sub(f.mul(a, b), scalar), f.add(f.mul(b, b), 1)) }),
  "functions of one operand": ({ a, b }) => ({ out: f.mul(f.sqrt(f.maximum(a, f.neg(a))), f.reciprocal(f.add(f.mul(b, b), 0.5))) }),
  comparisons: ({ a, b, scalar }) => ({
    less: asNumber(f.less(a, b)),
    equal: asNumber(f.equal(a, b)),
    either: asNumber(f.logicalOr(f.less(a, scalar), f.greaterOrEqual(b, scalar))),
    both: asNumber(f.logicalAnd(f.less(a, scalar), f.greaterOrEqual(b, scalar))),
  }),
  choices: ({ a, b, scalar }) => ({ out: f.where(f.less(a, b), f.mul(a, 3), f.stopGradient(scalar)) }),
  "what depends on scalars alone": ({ a, scalar }) => ({ out: f.mul(a, f.sqrt(f.add(scalar, 1))) }),
  "operands themselves": ({ a, b }) => ({ first: b, second: a }),
};

describe("a graph that works element by element, as a loop", () => {
  // Fewer than a vector, no multiple of one, and more than a block.
  it.each(Object.entries(cases).flatMap(([what, build]) => [1, 7, 40_000].map((n) => ({ what, build, n }))))(
    "$what, $n elements: equals the reference",
    async ({ build, n }) => {
      const graph = graphOf(build);
      const inputs = operands([n]);
      const expected = await (await referenceBackend.compile(graph)).run(inputs);
      const found = await loopOf(graph).run(inputs);
      expect(Object.keys(found)).toEqual(Object.keys(expected));
      for (const [name, { data }] of Object.entries(expected)) {
        const worst = Math.max(
          ...Array.from(data as Float32Array, (value, i) => Math.abs((found[name]!.data as Float32Array)[i]! - value)),
        );
        expect(worst, name).toBeLessThan(1e-6);
      }
    },
  );

  it("takes any rank, and none of its elements", async () => {
    const loop = loopOf(graphOf(({ a, b }) => ({ out: f.add(a, b) }), [dim("n"), 2, dim("m")]));
    expect((await loop.run(operands([3, 2, 5]))).out!.dims).toEqual([3, 2, 5]);
    expect((await loop.run(operands([0, 2, 5]))).out!.data).toHaveLength(0);
  });

  it("writes results over operands that other results are still made of", async () => {
    const graph = graphOf(({ a, b }) => ({ a: f.add(a, b), b: f.sub(a, b) }));
    const inputs = operands([50_000]);
    const apart = await loopOf(graph).run(inputs);
    const over = await loopOf(graph).run(inputs, { a: inputs.a!, b: inputs.b! });
    expect(over.a!.data).toBe(inputs.a!.data);
    expect(inputs.a!.data).toEqual(apart.a!.data);
    expect(inputs.b!.data).toEqual(apart.b!.data);
  });

  // No vector's length, a multiple of it, more than a block.
  it.each([1, 4, 7, 40_002])("works where vectors of one memory lie, on %i elements, and touches no neighbour", async (n) => {
    const graph = graphOf(({ a, b, scalar }) => ({ a: f.mul(a, scalar), b: f.add(a, b), other: f.sub(a, b) }));
    const loop = loopOf(graph);
    const inputs = operands([n]);
    const apart = await loop.run(inputs);
    const memory = new VectorMemory({ elements: 3 * (n + 8), vectors: 3 });
    const lying = (values?: HostTensor): { whole: Float32Array; tensor: HostTensor } => {
      const whole = memory.vector(n + 8).fill(9);
      const data = whole.subarray(3, n + 3);
      if (values) data.set(values.data as Float32Array);
      return { whole, tensor: { dtype: "float32", dims: [n], data } };
    };
    const [a, b, other] = [lying(inputs.a), lying(inputs.b), lying()];
    expect(new Set([a, b, other].map(({ whole }) => whole.buffer)).size).toBe(1);
    const over = { a: a.tensor, b: b.tensor };
    await loop.run({ ...over, scalar: inputs.scalar! }, { ...over, other: other.tensor });
    for (const [name, { whole, tensor }] of Object.entries({ a, b, other })) {
      expect(tensor.data, name).toEqual(apart[name]!.data);
      expect([...whole.subarray(0, 3), ...whole.subarray(n + 3)], name).toEqual(Array(8).fill(9));
    }
  });

  it("leaves to a session what is no loop over equal elements", () => {
    const other = (build: Build): unknown => compileElementLoop(graphOf(build), { name: "other" });
    expect(other(({ a }) => ({ out: f.exp(a) }))).toBeUndefined();
    expect(other(({ a }) => ({ out: f.reduceSum(a, [0]) }))).toBeUndefined();
    expect(other(({ a }) => ({ out: f.reshape(a, [1, dim("n")]) }))).toBeUndefined();
    expect(other(({ a, scalar }) => ({ out: a, twice: f.mul(scalar, 2) }))).toBeUndefined();
    expect(other(({ a, b }) => ({ out: f.cast(f.cast(f.less(a, b), "int64"), "float32") }))).toBeUndefined();
  });

  it("says which tensor does not fit", async () => {
    const loop = loopOf(graphOf(({ a, b }) => ({ out: f.add(a, b) })));
    const { a, b, scalar } = operands([4]) as { a: HostTensor; b: HostTensor; scalar: HostTensor };
    await expect(loop.run({ a, scalar })).rejects.toThrow('loop: input "b" is missing; given: a, scalar.');
    await expect(loop.run({ a, b: operands([5]).b!, scalar })).rejects.toThrow(/input "b" has shape \[5\]; expected \[n\]/);
    await expect(loop.run({ a, b, scalar }, { out: operands([3]).a! })).rejects.toThrow(/output "out" was given memory for float32\[3\]/);
    await expect(loop.run({ a, b, scalar }, { sum: a })).rejects.toThrow('output "sum" does not exist; known: out.');
  });
});
