/** One graph as an ONNX Runtime session that checks what it is given. The runtime itself is handed in, so that Node and the browser share this file. */
import type { InferenceSession, Tensor as OnnxTensor, TensorConstructor } from "onnxruntime-common";
import { BackendError } from "../../base/errors.ts";
import type { Graph, TensorType } from "../../tensor/graph.ts";
import { verifyGraph } from "../../tensor/passes/verify.ts";
import { type HostTensor, isOnDevice, type Tensor } from "../backend.ts";
import { bindInputs, checkOutputs } from "../check-tensors.ts";
import { giveBack } from "../give-back.ts";
import type { DeviceName } from "../registry.ts";
import { lowerToOnnx, outputName } from "./lower.ts";
import { elementType, type OnnxTensor as OnnxInitializer } from "./onnx-schema.ts";

/** The part of onnxruntime-node or onnxruntime-web that is used. */
export interface OnnxRuntime {
  readonly InferenceSession: { create(model: Uint8Array, options?: InferenceSession.SessionOptions): Promise<InferenceSession> };
  readonly Tensor: TensorConstructor;
}

export interface SessionRequest {
  readonly runtime: OnnxRuntime;
  readonly graph: Graph;
  /** For error messages. */
  readonly name: string;
  readonly device: DeviceName;
  readonly options: InferenceSession.SessionOptions;
  /** Graph inputs that stand in the model. */
  readonly constants?: ReadonlyMap<string, HostTensor>;
}

export interface CheckedSession {
  /** Results by the graph's output names; those with a tensor in `outputs` are written there. */
  run(
    inputs: Readonly<Record<string, Tensor>>,
    outputs?: Readonly<Record<string, HostTensor>>,
  ): Promise<ReadonlyMap<string, { readonly result: OnnxTensor; readonly type: TensorType }>>;
  dispose(): Promise<void>;
}

/** A tensor that stands outside the model, so that it is not copied into the model's bytes; the runtime copies it when the session opens. */
function toInitializer(location: string, { dtype, dims, data }: HostTensor): Omit<OnnxInitializer, "name"> {
  const externalData = Object.entries({ location, offset: "0", length: String(data.byteLength) }).map(([key, value]) => ({ key, value }));
  return { dims: [...dims], dataType: elementType[dtype], externalData, dataLocation: 1 };
}

/** @throws BackendError if the graph is not accepted */
export async function openSession({
  runtime,
  graph,
  name,
  device,
  options,
  constants = new Map(),
}: SessionRequest): Promise<CheckedSession> {
  const fail = (what: string, cause?: unknown): never => {
    throw new BackendError(`${name}: ${what}`, { cause });
  };
  const initializers = new Map([...constants].map(([input, tensor]) => [input, toInitializer(input, tensor)]));
  const externalData = [...constants].map(([path, { data }]) => ({
    path,
    data: new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
  }));
  const model = lowerToOnnx({ graph: verifyGraph(graph), name, device, initializers });
  // No function below may name `constants`: the session would keep them in memory beside its own copy.
  const inside = new Set(constants.keys());
  const given = [...graph.inputs].filter(([input]) => !inside.has(input));
  const session = await runtime.InferenceSession.create(model, { ...options, ...(constants.size > 0 && { externalData }) }).catch(
    (error: Error) => fail(`ONNX Runtime refused the graph: ${error.message}`, error),
  );

  function toTensor(label: string, tensor: Tensor): OnnxTensor {
    if (isOnDevice(tensor)) return tensor.handle as OnnxTensor;
    const { dtype, data, dims } = tensor;
    try {
      return new runtime.Tensor(dtype === "bfloat16" ? "uint16" : dtype, data as never, dims);
    } catch (error) {
      return fail(`${label}, ${dtype}[${dims.join(", ")}] of ${data.length} elements, is no tensor: ${(error as Error).message}`, error);
    }
  }

  return {
    async run(inputs, outputs = {}) {
      const bindings = bindInputs({ name, expected: given, inputs });
      checkOutputs({ name, expected: graph.outputs, outputs, bindings });
      const feeds = Object.fromEntries(given.map(([input]) => [input, toTensor(`input "${input}"`, inputs[input]!)]));
      const fetches = Object.fromEntries(
        [...graph.outputs.keys()].map((output) => [
          outputName(output),
          outputs[output] ? toTensor(`output "${output}"`, outputs[output]) : null,
        ]),
      );
      const results = await session.run(feeds, fetches).catch((error: Error) => fail(error.message, error));
      for (const [output, { data }] of Object.entries(outputs)) {
        const returned = results[outputName(output)]!.data as HostTensor["data"];
        if (returned.buffer !== data.buffer) giveBack(returned);
      }
      return new Map([...graph.outputs].map(([output, type]) => [output, { result: results[outputName(output)]!, type }]));
    },
    dispose: () => session.release(),
  };
}

/** A result that the runtime put into the host's memory. */
export function fromTensor({ data, dims }: OnnxTensor, { dtype }: TensorType): HostTensor {
  const array = data as HostTensor["data"];
  // Where JavaScript has a Float16Array the runtime returns one; its bits are what we hold.
  const bits = dtype === "float16" && !(array instanceof Uint16Array);
  return { dtype, dims, data: bits ? new Uint16Array(array.buffer, array.byteOffset, array.length) : array };
}
