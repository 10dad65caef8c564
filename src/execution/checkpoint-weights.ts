/** A checkpoint as the source of a model's weights. */
import { type Checkpoint, findTensor, readFloat32 } from "../models/weights/checkpoint.ts";
import { readTensor } from "../models/weights/safetensors.ts";
import type { DType } from "../tensor/dtype.ts";
import type { WeightSource } from "./parameter-store.ts";

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
