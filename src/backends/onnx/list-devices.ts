/** Finds out which devices work here, by running one operation on each. */
import { BackendError } from "../../base/errors.ts";
import { Graph } from "../../tensor/graph.ts";
import { add } from "../../tensor/ops/index.ts";
import { type DeviceName, devices } from "../registry.ts";
import { tryOut, whyNoInt8 } from "../trials.ts";
import { createOnnxBackend } from "./backend.ts";
import type { OnnxRuntime } from "./session.ts";

export interface DeviceReport {
  readonly name: DeviceName;
  readonly available: boolean;
  /** Why not, in one line; absent where available. */
  readonly reason?: string;
  /** Of the CPU: whether it can compute bases in 8-bit integers (`quantization.compute: int8`). */
  readonly computesInt8?: boolean;
}

export async function listDevices(runtime: OnnxRuntime): Promise<DeviceReport[]> {
  const reports: DeviceReport[] = [];
  for (const { name } of devices) reports.push({ name, ...(await tryDevice(runtime, name)) });
  return reports;
}

/** Compiles and runs one operation on a device. */
export async function tryDevice(runtime: OnnxRuntime, device: DeviceName): Promise<Omit<DeviceReport, "name">> {
  const graph = new Graph();
  graph.output("y", add(graph.input("x", { dtype: "float32", shape: [1] }), 1));
  try {
    const backend = createOnnxBackend({ runtime, provider: device });
    const inputs = { x: { dtype: "float32", dims: [1], data: Float32Array.of(1) } } as const;
    const { data } = await tryOut(backend, graph, { name: `trial of ${device}`, inputs });
    if (data[0] !== 2) throw new BackendError(`computed 1 + 1 = ${data[0]}.`);
    return { available: true, ...(device === "cpu" && { computesInt8: (await whyNoInt8(backend)) === undefined }) };
  } catch (error) {
    return { available: false, reason: reasonOf(error as Error) };
  }
}

/** The first line, without the graph's name and the place in ONNX Runtime's source. */
const reasonOf = ({ message }: Error): string =>
  message
    .trim()
    .split("\n")[0]!
    .replace(/^trial of \w+: ONNX Runtime refused the graph: /, "")
    .replace(/^\/onnxruntime_src\/.* was false\. /, "");
