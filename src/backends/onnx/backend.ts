/** Runs graphs with ONNX Runtime. The runtime itself is handed in, so that Node and the browser share this file. */
import type { InferenceSession, Tensor, TypedTensor } from "onnxruntime-common";
import { BackendError } from "../../base/errors.ts";
import type { DType } from "../../tensor/dtype.ts";
import { type Graph, printGraph } from "../../tensor/graph.ts";
import type { Backend, Executable, HostTensor } from "../backend.ts";
import { lowerToOnnx } from "./lower.ts";

/** The part of onnxruntime-node or onnxruntime-web that is used. */
export interface OnnxRuntime {
  readonly InferenceSession: { create(model: Uint8Array, options?: InferenceSession.SessionOptions): Promise<InferenceSession> };
  readonly Tensor: new (type: Tensor.Type, data: Tensor.DataType, dims: readonly number[]) => Tensor;
}

export interface OnnxBackendOptions {
  readonly runtime: OnnxRuntime;
  /** Name of the execution provider: cpu, webgpu, cuda. */
  readonly provider: string;
  /** Threads inside an operation; all cores where absent. */
  readonly numThreads?: number;
}

export function createOnnxBackend({ runtime, provider, numThreads }: OnnxBackendOptions): Backend {
  const compiled = new Map<string, Promise<Executable>>();
  const sessionOptions: InferenceSession.SessionOptions = {
    executionProviders: [provider],
    ...(numThreads !== undefined && { intraOpNumThreads: numThreads }),
    executionMode: "sequential",
    graphOptimizationLevel: "all",
    // A plan for the largest shape would be held by every session; the segments are small and the arena is enough.
    enableMemPattern: false,
    logSeverityLevel: 3,
    extra: { session: { disable_prepacking: "1", intra_op: { allow_spinning: "1" } } },
  };
  return {
    name: provider,
    storable: ["float32", "float16"],
    compile(graph, { name = "graph" } = {}) {
      const key = printGraph(graph);
      let executable = compiled.get(key);
      if (!executable) {
        executable = createExecutable({ runtime, graph, name, sessionOptions });
        compiled.set(key, executable);
      }
      return executable;
    },
  };
}

interface CreateOptions {
  readonly runtime: OnnxRuntime;
  readonly graph: Graph;
  readonly name: string;
  readonly sessionOptions: InferenceSession.SessionOptions;
}

async function createExecutable({ runtime, graph, name, sessionOptions }: CreateOptions): Promise<Executable> {
  const model = lowerToOnnx(graph, name);
  const session = await runtime.InferenceSession.create(model, sessionOptions).catch((error: unknown) => {
    throw new BackendError(`${name}: ONNX Runtime refused the graph: ${(error as Error).message}`, { cause: error });
  });
  const toTensor = ({ dtype, data, dims }: HostTensor): Tensor => new runtime.Tensor(dtype as Tensor.Type, data as Tensor.DataType, dims);
  return {
    async run(inputs, outputs = {}) {
      const feeds: Record<string, Tensor> = {};
      for (const [input, { dtype }] of graph.inputs) {
        const tensor = inputs[input];
        if (!tensor) throw new BackendError(`${name}: input "${input}" is missing.`);
        if (tensor.dtype !== dtype) throw new BackendError(`${name}: input "${input}" is ${tensor.dtype}; expected ${dtype}.`);
        feeds[input] = toTensor(tensor);
      }
      const fetches: Record<string, Tensor | null> = {};
      for (const output of graph.outputs.keys()) fetches[`out:${output}`] = outputs[output] ? toTensor(outputs[output]) : null;
      const results = await session.run(feeds, fetches).catch((error: unknown) => {
        throw new BackendError(`${name}: ${(error as Error).message}`, { cause: error });
      });
      return Object.fromEntries([...graph.outputs.keys()].map((output) => [output, outputs[output] ?? fromTensor(results[`out:${output}`]!)]));
    },
    dispose: () => session.release(),
  };
}

const fromTensor = (tensor: Tensor): HostTensor => ({ dtype: tensor.type as DType, dims: tensor.dims, data: (tensor as TypedTensor<"float32">).data });
