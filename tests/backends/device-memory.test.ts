/** Results that stay on the device, where a device has memory of its own. */
import { describe, expect, it } from "vitest";
import type { DeviceMemory, HostTensor } from "../../src/backends/backend.ts";
import { createOnnxBackend } from "../../src/backends/onnx/backend.ts";
import { tryDevice } from "../../src/backends/onnx/list-devices.ts";
import { devices } from "../../src/backends/registry.ts";
import { loadOnnxRuntime } from "../../src/platform/node/onnxruntime.ts";
import { Graph } from "../../src/tensor/graph.ts";
import { add, mul } from "../../src/tensor/ops/index.ts";
import { dim } from "../../src/tensor/shape.ts";

const runtime = await loadOnnxRuntime();
const vector = (...values: number[]): HostTensor => ({ dtype: "float32", dims: [values.length], data: Float32Array.from(values) });

function multiplyAdd(): Graph {
  const graph = new Graph();
  const type = { dtype: "float32", shape: [dim("n")] } as const;
  const [x, y] = [graph.input("x", type), graph.input("y", type)];
  graph.output("sum", add(x, y));
  graph.output("product", mul(x, y));
  return graph;
}

for (const { name, keepsResults } of devices.filter((device) => device.keepsResults)) {
  const { available, reason } = await tryDevice(runtime, name);
  if (!available) console.log(`${name}: skipped: ${reason}`);
  describe.skipIf(!available)(`${name} memory`, () => {
    const memory = (): DeviceMemory => createOnnxBackend({ runtime, provider: name }).deviceMemory!;

    it("takes a tensor and gives it back", async () => {
      const device = memory();
      const there = await device.upload({ dtype: "int64", dims: [2, 1], data: BigInt64Array.of(5n, -7n) });
      expect(there.dims).toEqual([2, 1]);
      expect((await device.download(there)).data).toEqual(BigInt64Array.of(5n, -7n));
    });

    it("feeds results of one graph to another, beside tensors of the host", async () => {
      const device = memory();
      const graph = await device.compile(multiplyAdd());
      const first = await graph.run({ x: vector(1, 2, 3), y: vector(4, 5, 6) });
      const second = await graph.run({ x: first.sum!, y: first.product! });
      const third = await graph.run({ x: second.sum!, y: vector(1, 0, -1) });
      expect((await device.download(third.product!)).data).toEqual(Float32Array.of(9, 0, -27));
      for (const tensor of [...Object.values(first), ...Object.values(second), ...Object.values(third)]) tensor.dispose();
    });

    it("keeps what is not disposed", async () => {
      const device = memory();
      const graph = await device.compile(multiplyAdd());
      const kept = await device.upload(vector(2, 2));
      for (let i = 0; i < 20; i++) for (const tensor of Object.values(await graph.run({ x: kept, y: kept }))) tensor.dispose();
      expect((await device.download(kept)).data).toEqual(Float32Array.of(2, 2));
    });
  });
  it(`${name} says that it keeps results`, () =>
    expect(keepsResults).toBe(createOnnxBackend({ runtime, provider: name }).deviceMemory !== undefined));
}
