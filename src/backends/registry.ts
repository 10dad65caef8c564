/** Devices that graphs can run on. */
import { lookUp } from "../base/registry.ts";
import type { DType } from "../tensor/dtype.ts";

export const devices = [
  // float16 and bfloat16 weights are cast where they are used, inside the graph, so that memory holds the small copy only.
  {
    name: "cpu",
    executionProvider: "cpu",
    storable: ["float32", "float16", "bfloat16"],
    keepsResults: false,
    computesFloat16: false,
    decodesInParts: true,
  },
  // Adapters may lack shader-f16, as SwiftShader does; bfloat16 gave right results there, but nobody has measured where it is unpacked.
  { name: "webgpu", executionProvider: "webgpu", storable: ["float32"], keepsResults: true, computesFloat16: true, decodesInParts: false },
  // ONNX Runtime's binding for Node hands results of this provider to the host only.
  {
    name: "cuda",
    executionProvider: "cuda",
    storable: ["float32", "float16"],
    keepsResults: false,
    computesFloat16: true,
    decodesInParts: false,
  },
] as const satisfies readonly DeviceDescription[];

interface DeviceDescription {
  readonly name: string;
  readonly executionProvider: string;
  /** Element types of weights that it takes. */
  readonly storable: readonly DType[];
  /** Results can stay on it and be inputs of the next graph. */
  readonly keepsResults: boolean;
  /** It has kernels for float16; ONNX Runtime's CPU kernels widen to float32. WebGPU has no bfloat16 at all. */
  readonly computesFloat16: boolean;
  /** Products with large 4-bit weights are cut, so that one part is decoded at a time: on the CPU that saves memory and page faults; elsewhere nobody has measured it. */
  readonly decodesInParts: boolean;
}

export type Device = (typeof devices)[number];
export type DeviceName = Device["name"];

/** @throws UnsupportedError naming the nearest device */
export const deviceNamed = (name: string): Device => lookUp<Device>("device", devices, name);
