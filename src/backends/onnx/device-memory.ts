/** Results that stay in a device's memory, as ONNX Runtime's WebGPU provider keeps them. Tensors come and go through graphs that only pass them on. */
import type { InferenceSession } from "onnxruntime-common";
import type { DType } from "../../tensor/dtype.ts";
import { Graph } from "../../tensor/graph.ts";
import { dim } from "../../tensor/shape.ts";
import { type Backend, CompiledGraphCache, type DeviceExecutable, type DeviceMemory, type DeviceTensor, type Tensor } from "../backend.ts";
import type { DeviceName } from "../registry.ts";
import { type OnnxRuntime, openSession, type SessionRequest } from "./session.ts";

export interface DeviceMemoryOptions {
  readonly runtime: OnnxRuntime;
  readonly device: DeviceName;
  readonly options: InferenceSession.SessionOptions;
  /** Compiles graphs whose results come back to the host. */
  readonly toHost: Backend["compile"];
}

export function createDeviceMemory({ runtime, device, options, toHost }: DeviceMemoryOptions): DeviceMemory {
  const onDevice: InferenceSession.SessionOptions = { ...options, preferredOutputLocation: "gpu-buffer" };
  const cache = new CompiledGraphCache<DeviceExecutable>();
  const compile: DeviceMemory["compile"] = (graph, { name = "graph" } = {}) =>
    cache.compile(graph, () => createDeviceExecutable({ runtime, graph, name, device, options: onDevice }));
  return {
    compile,
    async upload(tensor) {
      const { y } = await (await compile(passOn(tensor), { name: "upload" })).run({ x: tensor });
      return y!;
    },
    async download(tensor) {
      const { y } = await (await toHost(passOn(tensor), { name: "download" })).run({ x: tensor });
      return y!;
    },
  };
}

function passOn({ dtype, dims }: { readonly dtype: DType; readonly dims: readonly number[] }): Graph {
  const graph = new Graph();
  graph.output("y", graph.input("x", { dtype, shape: dims.map((_, axis) => dim(`size${axis}`)) }));
  return graph;
}

async function createDeviceExecutable(request: SessionRequest): Promise<DeviceExecutable> {
  const session = await openSession(request);
  return {
    async run(inputs: Readonly<Record<string, Tensor>>) {
      const tensors: Record<string, DeviceTensor> = {};
      for (const [output, { result, type }] of await session.run(inputs))
        tensors[output] = { dtype: type.dtype, dims: result.dims, handle: result, dispose: () => result.dispose() };
      return tensors;
    },
    dispose: session.dispose,
  };
}
