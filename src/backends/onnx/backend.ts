/** Runs graphs with ONNX Runtime. The runtime itself is handed in, so that Node and the browser share this file. */
import type { InferenceSession, Tensor, TensorConstructor } from "onnxruntime-common";
import { BackendError } from "../../base/errors.ts";
import { bindDims } from "../../tensor/bindings.ts";
import type { Graph, TensorType } from "../../tensor/graph.ts";
import { verifyGraph } from "../../tensor/passes/verify.ts";
import { type DimBindings, dimNames, evaluateShape, showShape } from "../../tensor/shape.ts";
import { type Backend, CompiledGraphCache, type Executable, type HostTensor } from "../backend.ts";
import { type DeviceName, deviceNamed } from "../registry.ts";
import { lowerToOnnx, outputName } from "./lower.ts";

/** The part of onnxruntime-node or onnxruntime-web that is used. */
export interface OnnxRuntime {
  readonly InferenceSession: { create(model: Uint8Array, options?: InferenceSession.SessionOptions): Promise<InferenceSession> };
  readonly Tensor: TensorConstructor;
}

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
  return {
    name: device.name,
    storable: device.storable,
    compile: (graph, { name = "graph" } = {}) =>
      cache.compile(graph, () => createExecutable({ runtime, graph, name, device: device.name, options })),
  };
}

interface CreateOptions {
  readonly runtime: OnnxRuntime;
  readonly graph: Graph;
  readonly name: string;
  readonly device: DeviceName;
  readonly options: InferenceSession.SessionOptions;
}

async function createExecutable({ runtime, graph, name, device, options }: CreateOptions): Promise<Executable> {
  const fail = (what: string, cause?: unknown): never => {
    throw new BackendError(`${name}: ${what}`, { cause });
  };
  const model = lowerToOnnx({ graph: verifyGraph(graph), name, device });
  const session = await runtime.InferenceSession.create(model, options).catch((error: Error) =>
    fail(`ONNX Runtime refused the graph: ${error.message}`, error),
  );

  function toTensor(label: string, { dtype, data, dims }: HostTensor): Tensor {
    try {
      return new runtime.Tensor(dtype === "bfloat16" ? "uint16" : dtype, data as never, dims);
    } catch (error) {
      return fail(`${label}, ${dtype}[${dims.join(", ")}] of ${data.length} elements, is no tensor: ${(error as Error).message}`, error);
    }
  }

  function bind(inputs: Readonly<Record<string, HostTensor>>): DimBindings {
    const shapes = [...graph.inputs].map(([input, { dtype, shape }]) => {
      const tensor = inputs[input] ?? fail(`input "${input}" is missing; given: ${Object.keys(inputs).join(", ") || "none"}.`);
      if (tensor.dtype !== dtype) fail(`input "${input}" is ${tensor.dtype}; expected ${dtype}.`);
      return { name: input, shape, actual: tensor.dims };
    });
    try {
      return bindDims(shapes);
    } catch (error) {
      return fail((error as Error).message, error);
    }
  }

  function checkOutput(output: string, tensor: HostTensor, bindings: DimBindings): void {
    const { dtype, shape }: TensorType =
      graph.outputs.get(output) ?? fail(`output "${output}" does not exist; known: ${[...graph.outputs.keys()].join(", ")}.`);
    const known = shape.flatMap(dimNames).every((size) => bindings[size] !== undefined);
    const fits = known ? String(evaluateShape(shape, bindings)) === String(tensor.dims) : shape.length === tensor.dims.length;
    if (tensor.dtype !== dtype || !fits)
      fail(`output "${output}" was given memory for ${tensor.dtype}[${tensor.dims.join(", ")}]; expected ${dtype}${showShape(shape)}.`);
  }

  return {
    async run(inputs, outputs = {}) {
      const bindings = bind(inputs);
      for (const [output, tensor] of Object.entries(outputs)) checkOutput(output, tensor, bindings);
      const feeds = Object.fromEntries([...graph.inputs.keys()].map((input) => [input, toTensor(`input "${input}"`, inputs[input]!)]));
      const fetches = Object.fromEntries(
        [...graph.outputs.keys()].map((output) => [
          outputName(output),
          outputs[output] ? toTensor(`output "${output}"`, outputs[output]) : null,
        ]),
      );
      const results = await session.run(feeds, fetches).catch((error: Error) => fail(error.message, error));
      return Object.fromEntries(
        [...graph.outputs].map(([output, type]) => [output, outputs[output] ?? fromTensor(results[outputName(output)]!, type)]),
      );
    },
    dispose: () => session.release(),
  };
}

function fromTensor({ data, dims }: Tensor, { dtype }: TensorType): HostTensor {
  const array = data as HostTensor["data"];
  // Where JavaScript has a Float16Array the runtime returns one; its bits are what we hold.
  const bits = dtype === "float16" && !(array instanceof Uint16Array);
  return { dtype, dims, data: bits ? new Uint16Array(array.buffer, array.byteOffset, array.length) : array };
}
