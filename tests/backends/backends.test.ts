/** The backend suite on every device of this machine. */
import { describe, expect, it } from "vitest";
import { CompiledGraphCache, type Executable } from "../../src/backends/backend.ts";
import { createOnnxBackend } from "../../src/backends/onnx/backend.ts";
import { listDevices } from "../../src/backends/onnx/list-devices.ts";
import { lowerToOnnx } from "../../src/backends/onnx/lower.ts";
import { lowerings } from "../../src/backends/onnx/lowerings.ts";
import type { DeviceName } from "../../src/backends/registry.ts";
import { BackendError } from "../../src/base/errors.ts";
import { loadOnnxRuntime } from "../../src/platform/node/onnxruntime.ts";
import { Graph, type OpDefinition } from "../../src/tensor/graph.ts";
import { add, constant, gather, zeros } from "../../src/tensor/ops/index.ts";
import { ops } from "../../src/tensor/ops/registry.ts";
import { dim } from "../../src/tensor/shape.ts";
import { type BackendSuiteOptions, describeBackend } from "./describe-backend.ts";

const runtime = await loadOnnxRuntime();
const reports = await listDevices(runtime);

const skips: Partial<Record<DeviceName, BackendSuiteOptions["skip"]>> = {
  webgpu: [
    {
      reason: "WebGPU takes float32 weights only; an adapter may lack f16",
      test: (op, name) => /\bfloat16/.test(name) || (/constant|zeros/.test(op) && name === "halves"),
    },
    {
      reason: "the WebGPU kernels refuse operands without elements",
      test: (op, name) => /logSumExp|reduceMax|matmulInt8/.test(op) && name === "no rows",
    },
  ],
};

for (const { name, available, reason } of reports) {
  if (available) describeBackend({ backend: createOnnxBackend({ runtime, provider: name }), skip: skips[name] ?? [] });
  else {
    console.log(`${name}: skipped: ${reason}`);
    it.skip(`${name}: ${reason}`, () => {});
  }
}

const backend = createOnnxBackend({ runtime, provider: "cpu" });
function plusOne(): Graph {
  const graph = new Graph();
  graph.output("y", add(graph.input("x", { dtype: "float32", shape: [dim("n")] }), 1));
  return graph;
}
const x = { dtype: "float32", dims: [2], data: Float32Array.of(1, 2) } as const;

describe("lowering", () => {
  it("knows every operation and no other", () => {
    expect(Object.keys(lowerings).sort()).toEqual(ops.map(({ name }) => name).sort());
  });

  it("names an operation that it does not know", () => {
    const graph = new Graph();
    const op: OpDefinition = { name: "fourier", infer: (types) => [...types], reference: (arrays) => [...arrays] };
    graph.output("y", graph.add(op, [graph.input("x", { dtype: "float32", shape: [2] })])[0]!);
    expect(() => lowerToOnnx({ graph, name: "spectrum", device: "cpu" })).toThrow(/spectrum: operation "fourier" has no ONNX lowering/);
  });

  it("refuses to compute in bfloat16", () => {
    const graph = new Graph();
    const value = graph.input("x", { dtype: "bfloat16", shape: [2] });
    graph.output("y", add(value, value));
    expect(() => lowerToOnnx({ graph, name: "sum", device: "cpu" })).toThrow(/"add" does not compute in bfloat16/);
  });

  it("names a size that no input determines", () => {
    const graph = new Graph();
    graph.output("y", zeros(graph, [dim("hidden")]));
    expect(() => lowerToOnnx({ graph, name: "blank", device: "cpu" })).toThrow(/"hidden" cannot be read off any graph input/);
  });
});

describe("errors name the graph, what was given and what was expected", () => {
  const run = async (...[inputs, outputs]: Parameters<Executable["run"]>): Promise<unknown> =>
    (await backend.compile(plusOne(), { name: "block 3" })).run(inputs, outputs);
  it.each([
    ["a missing input", {}, {}, /block 3: input "x" is missing/],
    ["another type", { x: { dtype: "int32", dims: [1], data: Int32Array.of(1) } }, {}, /block 3: input "x" is int32; expected float32/],
    ["another rank", { x: { ...x, dims: [1, 2] } }, {}, /block 3: input "x" has shape \[1, 2\]; expected \[n\]/],
    ["too few elements", { x: { ...x, dims: [3] } }, {}, /block 3: input "x", float32\[3\] of 2 elements/],
    [
      "memory of another size",
      { x },
      { y: { ...x, dims: [1], data: Float32Array.of(0) } },
      /block 3: output "y" was given memory for float32\[1\]; expected float32\[n\]/,
    ],
    ["an unknown output", { x }, { z: x }, /block 3: output "z" does not exist; known: y/],
  ] as const)("%s", async (_, inputs, outputs, message) => {
    const error = await run(inputs, outputs).catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(BackendError);
    expect((error as Error).message).toMatch(message);
  });

  it("failures inside the runtime", async () => {
    const graph = new Graph();
    const table = graph.input("table", { dtype: "float32", shape: [2, 3] });
    graph.output("rows", gather(table, graph.input("ids", { dtype: "int64", shape: [1] })));
    const executable = await backend.compile(graph, { name: "embedding" });
    const ids = { dtype: "int64", dims: [1], data: BigInt64Array.of(9n) } as const;
    await expect(executable.run({ table: { dtype: "float32", dims: [2, 3], data: new Float32Array(6) }, ids })).rejects.toThrow(
      /^embedding: .*indices/s,
    );
  });
});

describe("CompiledGraphCache", () => {
  const executable = (): Executable => ({ run: async () => ({}), dispose: async () => {} });
  it("compiles equal graphs once, and again after a failure or the last dispose", async () => {
    const cache = new CompiledGraphCache();
    let made = 0;
    const make = async (): Promise<Executable> => {
      if (++made === 1) throw new BackendError("no memory");
      return executable();
    };
    await expect(cache.compile(plusOne(), make)).rejects.toThrow("no memory");
    const [a, b] = await Promise.all([cache.compile(plusOne(), make), cache.compile(plusOne(), make)]);
    expect([made, cache.size]).toEqual([2, 1]);
    await a.dispose();
    expect(cache.size).toBe(1);
    await b.dispose();
    expect(cache.size).toBe(0);
  });

  it("tells constants apart that JSON does not", async () => {
    const cache = new CompiledGraphCache();
    for (const value of [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, Number.NaN, 0, -0]) {
      const graph = new Graph();
      graph.output("y", constant(graph, value));
      await cache.compile(graph, async () => executable());
    }
    expect(cache.size).toBe(5);
  });
});
