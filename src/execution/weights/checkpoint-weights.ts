/** A checkpoint as the source of a model's weights. */
import { type Checkpoint, findTensor, readFloat32 } from "../../models/weights/checkpoint.ts";
import { readTensor } from "../../models/weights/safetensors.ts";
import type { DType } from "../../tensor/dtype.ts";

/** Reads the weights of a checkpoint by name. */
export interface WeightSource {
  dtypeOf(name: string): DType;
  /** The stored bytes, in the stored element type. */
  readInto(name: string, target: Uint8Array): Promise<void>;
  readFloat32(name: string): Promise<Float32Array>;
}

const dtypes: Partial<Record<string, DType>> = { F32: "float32", F16: "float16", BF16: "bfloat16", F64: "float32" };

export function weightsOf(checkpoint: Checkpoint): WeightSource {
  return {
    dtypeOf: (name) => dtypes[findTensor(checkpoint, name)!.dtype] ?? "int32",
    async readInto(name, target) {
      const entry = findTensor(checkpoint, name)!;
      target.set(await readTensor(entry.file, entry));
    },
    readFloat32: (name) => readFloat32(checkpoint, name),
  };
}
