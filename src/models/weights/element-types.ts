/** Stored bytes to numbers and back. */
import { CheckpointError } from "../../base/errors.ts";
import { bfloat16ToFloat32, float16ToFloat32 } from "../../base/half.ts";
import type { HostTensor } from "../../tensor/host-tensor.ts";
import type { SafetensorsDType } from "./safetensors.ts";

/** A tensor's bytes as float32. @throws CheckpointError if they are integers */
export function toFloat32({ name, dtype, bytes }: { name: string; dtype: SafetensorsDType; bytes: Uint8Array }): Float32Array {
  // Typed arrays need aligned offsets, which a slice of a file does not promise.
  const buffer = bytes.byteOffset % 8 === 0 ? bytes.buffer : bytes.slice().buffer;
  const offset = bytes.byteOffset % 8 === 0 ? bytes.byteOffset : 0;
  if (dtype === "F32") return new Float32Array(buffer, offset, bytes.byteLength / 4);
  if (dtype === "F16") return float16ToFloat32(new Uint16Array(buffer, offset, bytes.byteLength / 2));
  if (dtype === "BF16") return bfloat16ToFloat32(new Uint16Array(buffer, offset, bytes.byteLength / 2));
  if (dtype === "F64") return Float32Array.from(new Float64Array(buffer, offset, bytes.byteLength / 8));
  throw new CheckpointError(`tensor ${name} holds ${dtype}; expected F32, F16, BF16 or F64.`);
}

/** A tensor of floating-point numbers in float32; the same memory where it is float32 already. */
export function valuesOf({ dtype, data }: HostTensor): Float32Array {
  if (dtype === "float16") return float16ToFloat32(data as Uint16Array);
  if (dtype === "bfloat16") return bfloat16ToFloat32(data as Uint16Array);
  return data as Float32Array;
}

export const bytesOf = (values: HostTensor["data"]): Uint8Array => new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
