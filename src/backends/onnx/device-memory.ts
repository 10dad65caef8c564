/** Results that stay in a device's memory, as ONNX Runtime's WebGPU provider keeps them. Tensors come and go through graphs that only pass them on. */
import type { InferenceSession } from "onnxruntime-common";
import type { DType } from "../../tensor/dtype.ts";
import { Graph } from "../../tensor/graph.ts";
import { dim } from "../../tensor/shape.ts";
import { type Backend, CompiledGraphCache, type DeviceExecutable, type DeviceMemory, type Tensor } from "../backend.ts";
import type { DeviceName } from "../registry.ts";
import { outputName } from "./lower.ts";
import { fromTensor, type OnnxRuntime, openSession, type SessionRequest } from "./session.ts";

export interface DeviceMemoryOptions {
  readonly runtime: OnnxRuntime;
  readonly device: DeviceName;
  readonly options: InferenceSession.SessionOptions;
  /** Compiles graphs whose results come back to the host. */
  readonly toHost: Backend["compile"];
}

export function createDeviceMemory({ runtime, device, options, toHost: hostCompile }: DeviceMemoryOptions): DeviceMemory {
  const cache = new CompiledGraphCache<DeviceExecutable>();
  /** By what comes to the host, which a graph does not say. */
  const reporting = new Map<string, CompiledGraphCache<DeviceExecutable<Tensor>>>();
  const open = (graph: Graph, name: string, toHost: ReadonlySet<string>): Promise<DeviceExecutable<Tensor>> => {
    const location = (output: string) => (toHost.has(output) ? ("cpu" as const) : ("gpu-buffer" as const));
    const preferredOutputLocation = Object.fromEntries([...graph.outputs.keys()].map((output) => [outputName(output), location(output)]));
    return createDeviceExecutable({ runtime, graph, name, device, options: { ...options, preferredOutputLocation } }, toHost);
  };
  const compile: DeviceMemory["compile"] = (graph, { name = "graph" } = {}) =>
    cache.compile(graph, () => open(graph, name, new Set()) as Promise<DeviceExecutable>);
  return {
    compile,
    compileReporting(graph, { name = "graph", toHost }) {
      const key = [...toHost].sort().join();
      const cache = reporting.get(key) ?? new CompiledGraphCache();
      reporting.set(key, cache);
      return cache.compile(graph, () => open(graph, name, toHost));
    },
    async upload(tensor) {
      const { y } = await (await compile(passOn(tensor), { name: "upload" })).run({ x: tensor });
      return y!;
    },
    async download(tensor) {
      const { y } = await (await hostCompile(passOn(tensor), { name: "download" })).run({ x: tensor });
      return y!;
    },
  };
}

function passOn({ dtype, dims }: { readonly dtype: DType; readonly dims: readonly number[] }): Graph {
  const graph = new Graph();
  graph.output("y", graph.input("x", { dtype, shape: dims.map((_, axis) => dim(`size${axis}`)) }));
  return graph;
}

async function createDeviceExecutable(request: SessionRequest, toHost: ReadonlySet<string>): Promise<DeviceExecutable<Tensor>> {
  const session = await openSession(request);
  return {
    async run(inputs: Readonly<Record<string, Tensor>>) {
      const tensors: Record<string, Tensor> = {};
      for (const [output, { result, type }] of await session.run(inputs))
        tensors[output] = toHost.has(output)
          ? fromTensor(result, type)
          : { dtype: type.dtype, dims: result.dims, handle: result, dispose: () => result.dispose() };
      return tensors;
    },
    dispose: session.dispose,
  };
}
