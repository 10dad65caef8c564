/** Training where a device has memory of its own: the CPU's numbers, frozen weights brought there once, and nothing left behind by a step. */
import { describe, expect, it } from "vitest";
import type { Backend, DeviceTensor, HostTensor } from "../../src/backends/backend.ts";
import { createOnnxBackend } from "../../src/backends/onnx/backend.ts";
import { tryDevice } from "../../src/backends/onnx/list-devices.ts";
import { devices } from "../../src/backends/registry.ts";
import { full } from "../../src/methods/full.ts";
import { lora } from "../../src/methods/lora/lora.ts";
import type { AttachedMethod, MethodTarget } from "../../src/methods/method.ts";
import { loadOnnxRuntime } from "../../src/platform/node/onnxruntime.ts";
import { batchOf, openTinyModel, reference } from "../conformance/tiny-model.ts";

const runtime = await loadOnnxRuntime();
const batch = batchOf([
  [3, 5, 7, 9, 11, 13, 15, 17],
  [20, 21, 22, 23, 24, 25, 26, 27],
]);
const once = { gradientScale: 1 / batch.targetLabels.length, seed: 1 };
const adapt = (target: MethodTarget): AttachedMethod => lora.attach(target, lora.configSchema.parse({ name: "lora", rank: 4 }));

/** A backend that counts what goes to the device's memory, and what is there. */
function counting(backend: Backend) {
  const counts = { uploadedBytes: 0, live: 0 };
  const counted = (tensor: DeviceTensor): DeviceTensor => {
    counts.live++;
    return {
      ...tensor,
      dispose() {
        counts.live--;
        tensor.dispose();
      },
    };
  };
  const memory = backend.deviceMemory!;
  const deviceMemory: Backend["deviceMemory"] = {
    ...memory,
    async compile(graph, options) {
      const executable = await memory.compile(graph, options);
      return {
        ...executable,
        run: async (inputs) =>
          Object.fromEntries(Object.entries(await executable.run(inputs)).map(([name, tensor]) => [name, counted(tensor)])),
      };
    },
    async upload(tensor: HostTensor) {
      counts.uploadedBytes += tensor.data.byteLength;
      return counted(await memory.upload(tensor));
    },
  };
  return { counts, on: { ...backend, deviceMemory } };
}

for (const { name } of devices.filter((device) => device.keepsResults)) {
  const { available, reason } = await tryDevice(runtime, name);
  if (!available) console.log(`${name}: skipped: ${reason}`);
  const open = (on: Backend, attach: (target: MethodTarget) => AttachedMethod, family = "families/llama") =>
    openTinyModel({ folder: `${reference}${family}`, attach, on });
  const device = (): Backend => createOnnxBackend({ runtime, provider: name });
  const host = createOnnxBackend({ runtime, provider: "cpu" });

  describe.skipIf(!available)(`training on ${name}`, () => {
    it.each([
      ["LoRA", adapt],
      ["full", full.attach],
    ] as const)("%s: losses and weights of the CPU", async (_, attach) => {
      const losses: number[][] = [];
      for (const on of [host, device()]) {
        const { engine } = await open(on, attach as (target: MethodTarget) => AttachedMethod);
        const of: number[] = [];
        for (let step = 1; step <= 3; step++) {
          of.push((await engine.accumulate(batch, once)).lossSum);
          of.push(await engine.gradientNorm());
          await engine.update({ learningRate: 1e-2, step, gradientScale: 1 });
        }
        losses.push(of);
      }
      losses[0]!.forEach((value, i) => expect(losses[1]![i]).toBeCloseTo(value, 3));
    });

    it("brings frozen weights once, and leaves nothing else", async () => {
      const { counts, on } = counting(device());
      const { engine, store } = await open(on, adapt);
      await engine.accumulate(batch, once);
      const [live, first] = [counts.live, counts.uploadedBytes];
      expect(first).toBeGreaterThan(store.frozenBytes * 0.9);
      await engine.accumulate(batch, once);
      expect(counts.live).toBe(live);
      expect(counts.uploadedBytes - first).toBeLessThan(0.05 * store.frozenBytes);
      await engine.evaluate(batch);
      expect(counts.live).toBe(live);
    });
  });
}
