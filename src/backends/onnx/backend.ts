/** Runs graphs with ONNX Runtime. */
import type { InferenceSession } from "onnxruntime-common";
import { type Backend, CompiledGraphCache, type Executable } from "../backend.ts";
import { type DeviceName, deviceNamed } from "../registry.ts";
import { compileElementLoop } from "../wasm/element-loop.ts";
import { createDeviceMemory } from "./device-memory.ts";
import { fromTensor, type OnnxRuntime, openSession, type SessionRequest } from "./session.ts";

export interface OnnxBackendOptions {
  readonly runtime: OnnxRuntime;
  readonly provider: DeviceName;
  /** Threads inside an operation; all cores where absent. */
  readonly numThreads?: number;
  /** Laid over the fixed options, for experiments. */
  readonly sessionOptions?: InferenceSession.SessionOptions;
}

/** @throws UnsupportedError if the device is not known */
export function createOnnxBackend({ runtime, provider, numThreads, sessionOptions = {} }: OnnxBackendOptions): Backend {
  const device = deviceNamed(provider);
  const options: InferenceSession.SessionOptions = {
    executionProviders: [device.executionProvider],
    ...(numThreads !== undefined && { intraOpNumThreads: numThreads }),
    executionMode: "sequential",
    graphOptimizationLevel: "all",
    // A memory pattern would hold one block for the largest shape seen in every session.
    enableMemPattern: false,
    // Failures are thrown; the runtime's own lines on stderr would say them twice.
    logSeverityLevel: 4,
    extra: {
      session: {
        // Weights are inputs, never prepacked; packing the few constants would only copy them.
        disable_prepacking: "1",
        // Every session has threads of its own. Between the operations of a run they spin for some microseconds, because to wake
        // one takes as long as a small operation. Left spinning after a run, or longer than that on a machine that others use
        // too, they take the cores from the work: docs/log.md.
        intra_op: { allow_spinning: "1", spin_duration_us: "20" },
        force_spinning_stop: "1",
      },
    },
    ...sessionOptions,
  };
  const cache = new CompiledGraphCache();
  const compile: Backend["compile"] = (graph, { name = "graph", keepsMemory = false, asElementLoop = false, constants } = {}) => {
    const elementLoop = asElementLoop && device.name === "cpu" ? compileElementLoop(graph, { name }) : undefined;
    if (elementLoop) return Promise.resolve(elementLoop);
    // Without an arena of its own a session draws on the process's memory, which all of them share.
    const request = { runtime, graph, name, device: device.name, options: { enableCpuMemArena: keepsMemory, ...options } };
    return constants
      ? createExecutable({ ...request, constants, options: withPacking(request.options) })
      : cache.compile(graph, () => createExecutable(request));
  };
  return {
    name: device.name,
    storable: device.storable,
    computesFloat16: device.computesFloat16,
    decodesInParts: device.decodesInParts,
    compile,
    ...(device.keepsResults && { deviceMemory: createDeviceMemory({ runtime, device: device.name, options, toHost: compile }) }),
  };
}

/** Weights that are constants are laid out for the products when the session opens. */
function withPacking(options: InferenceSession.SessionOptions): InferenceSession.SessionOptions {
  const extra = options.extra as { readonly session?: object } | undefined;
  return { ...options, extra: { ...extra, session: { ...extra?.session, disable_prepacking: "0" } } };
}

async function createExecutable(request: SessionRequest): Promise<Executable> {
  const session = await openSession(request);
  return {
    async run(inputs, outputs = {}) {
      const results = await session.run(inputs, outputs);
      return Object.fromEntries([...results].map(([output, { result, type }]) => [output, outputs[output] ?? fromTensor(result, type)]));
    },
    dispose: session.dispose,
  };
}
