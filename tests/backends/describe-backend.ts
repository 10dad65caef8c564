/** What every backend must do: each operation against the float64 interpreter, and the rules of `Executable`. */
import { describe, expect, it } from "vitest";
import type { Backend, HostTensor } from "../../src/backends/backend.ts";
import type { DType } from "../../src/tensor/dtype.ts";
import { Graph, type ReferenceArray } from "../../src/tensor/graph.ts";
import { interpret } from "../../src/tensor/interpret.ts";
import { add, mul } from "../../src/tensor/ops/index.ts";
import { ops } from "../../src/tensor/ops/registry.ts";
import { dim } from "../../src/tensor/shape.ts";
import { OpCase } from "./op-case.ts";
import { opCases, sizes } from "./op-cases.ts";

export interface BackendSuiteOptions {
  readonly backend: Backend;
  /** What this device cannot do, and why. `case` is "op: case". */
  readonly skip?: readonly { readonly reason: string; readonly test: (op: string, name: string) => boolean }[];
}

export function describeBackend({ backend, skip = [] }: BackendSuiteOptions): void {
  describe(`${backend.name}: operations agree with the interpreter`, () => {
    it.each(ops.map(({ name }) => name))("has cases of %s", (op) => {
      expect(Object.keys(opCases[op as keyof typeof opCases] ?? {})).not.toHaveLength(0);
    });
    for (const [op, cases] of Object.entries(opCases)) {
      for (const [name, build] of Object.entries(cases)) {
        const skipped = skip.find(({ test }) => test(op, name));
        it.skipIf(skipped)(`${op}: ${name}${skipped ? ` (skipped: ${skipped.reason})` : ""}`, async () => {
          const c = new OpCase(sizes);
          for (const [i, value] of [build(c)].flat().entries()) c.graph.output(`y${i}`, value);
          expect(c.graph.nodes.map((node) => node.op.name)).toContain(op);
          const expected = interpret(c.graph, c.arrays);
          const executable = await backend.compile(c.graph, { name: `${op}: ${name}` });
          const results = await executable.run(c.tensors);
          await executable.dispose();
          for (const [output, { dtype }] of c.graph.outputs)
            expectClose(output, { actual: results[output]!, expected: expected[output]!, dtype });
        });
      }
    }
  });
  describe(`${backend.name}: executables`, () => describeExecutables(backend));
}

interface Comparison {
  readonly actual: HostTensor;
  readonly expected: ReferenceArray;
  readonly dtype: DType;
}

function expectClose(output: string, { actual, expected, dtype }: Comparison): void {
  expect(actual.dtype, output).toBe(dtype);
  expect([...actual.dims], output).toEqual([...expected.shape]);
  expect(actual.data.length, output).toBe(expected.data.length);
  for (const [i, want] of expected.data.entries()) {
    const got = Number(actual.data[i]);
    const tolerance = dtype === "float32" ? 1e-5 * (1 + Math.abs(want)) : 0;
    if (!Object.is(got, want) && !(Math.abs(got - want) <= tolerance))
      expect.fail(`${output}[${i}]: ${got} against ${want}, tolerance ${tolerance}`);
  }
}

const vector = (...values: number[]): HostTensor => ({ dtype: "float32", dims: [values.length], data: Float32Array.from(values) });

function describeExecutables(backend: Backend): void {
  const n = dim("n");
  function doubled(): Graph {
    const graph = new Graph();
    const x = graph.input("x", { dtype: "float32", shape: [n] });
    graph.output("x", mul(x, 2));
    graph.output("sum", add(x, graph.input("bias", { dtype: "float32", shape: [] })));
    return graph;
  }
  const bias: HostTensor = { dtype: "float32", dims: [], data: Float32Array.of(10) };

  it("runs other sizes without compiling again", async () => {
    const executable = await backend.compile(doubled());
    expect([...(await executable.run({ x: vector(1, 2), bias })).sum!.data]).toEqual([11, 12]);
    expect([...(await executable.run({ x: vector(1, 2, 3), bias })).x!.data]).toEqual([2, 4, 6]);
    await executable.dispose();
  });

  it("reads and writes views of one buffer in place", async () => {
    const memory = new Float32Array(16);
    memory.set([1, 2, 3], 2);
    const view = (offset: number): HostTensor => ({ dtype: "float32", dims: [3], data: memory.subarray(offset, offset + 3) });
    const executable = await backend.compile(doubled());
    const target = view(9);
    const results = await executable.run({ x: view(2), bias }, { x: target });
    expect(results.x).toBe(target);
    expect([...memory]).toEqual([0, 0, 1, 2, 3, 0, 0, 0, 0, 2, 4, 6, 0, 0, 0, 0]);
    expect([...results.sum!.data]).toEqual([11, 12, 13]);
    await executable.dispose();
  });

  it("may write a result over the operand that it comes from", async () => {
    const executable = await backend.compile(doubled());
    const x = vector(1, 2, 3);
    await executable.run({ x, bias }, { x });
    expect([...x.data]).toEqual([2, 4, 6]);
    await executable.dispose();
  });

  it("returns an input, and one value under two names", async () => {
    const graph = new Graph();
    const x = graph.input("x", { dtype: "float32", shape: [n] });
    const y = add(x, 1);
    for (const [name, value] of Object.entries({ x, y, again: y, z: mul(y, y) })) graph.output(name, value);
    const executable = await backend.compile(graph);
    const results = await executable.run({ x: vector(1, 2) });
    expect(Object.fromEntries(Object.entries(results).map(([name, { data }]) => [name, [...data]]))).toEqual({
      x: [1, 2],
      y: [2, 3],
      again: [2, 3],
      z: [4, 9],
    });
    await executable.dispose();
  });

  it("keeps an executable alive until its last user disposes of it", async () => {
    const [first, second] = [await backend.compile(doubled()), await backend.compile(doubled())];
    await first.dispose();
    await first.dispose();
    expect([...(await second.run({ x: vector(1), bias })).x!.data]).toEqual([2]);
    await second.dispose();
  });
}
