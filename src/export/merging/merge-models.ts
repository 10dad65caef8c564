/** Several checkpoints of one architecture into one, tensor by tensor: at no time is more than one tensor of each in memory. */
import { CheckpointError } from "../../base/errors.ts";
import { float32ToBfloat16, float32ToFloat16 } from "../../base/half.ts";
import type { Random } from "../../base/random.ts";
import type { Checkpoint } from "../../models/weights/checkpoint.ts";
import { bytesOf, toFloat32 } from "../../models/weights/element-types.ts";
import { readTensor, type SafetensorsDType, type TensorToWrite } from "../../models/weights/safetensors.ts";
import type { Combiner } from "./combiners/combiner.ts";
import { weightedSum } from "./task-vectors.ts";

export interface MergeModelsOptions {
  readonly sources: readonly Checkpoint[];
  /** What the sources were tuned from; for combiners of task vectors. */
  readonly base?: Checkpoint;
  /** One for each source. */
  readonly weights: readonly number[];
  readonly combiner: Combiner;
  readonly config: unknown;
  /** A stream of random numbers for a tensor. */
  randomFor(tensor: string): Random;
}

/**
 * Every tensor keeps the element type it has in the base, or in the first source where there is none; integers are taken from there.
 * @throws CheckpointError naming every tensor that is missing somewhere or differs in shape
 */
export function mergeModels({ sources, base, weights, combiner, config, randomFor }: MergeModelsOptions): Map<string, TensorToWrite> {
  const model = base ?? sources[0]!;
  checkSameTensors(model, sources);
  const merged = new Map<string, TensorToWrite>();
  for (const [name, entry] of model.tensors) {
    const { dtype, shape } = entry;
    const mergeValues = async (): Promise<Uint8Array> => {
      const start = base && (await readFloats(base, name));
      const values: Float32Array[] = [];
      for (const source of sources) {
        const tuned = await readFloats(source, name);
        values.push(start ? weightedSum([tuned, start], [1, -1]) : tuned);
      }
      const combined = combiner.combine(values, { weights, random: randomFor(name) }, config);
      return encodeFloats(start ? weightedSum([start, combined], [1, 1]) : combined, dtype);
    };
    merged.set(name, { dtype, shape, read: dtype in encoders ? mergeValues : () => readTensor(entry.file, entry) });
  }
  return merged;
}

async function readFloats(checkpoint: Checkpoint, name: string): Promise<Float32Array> {
  const entry = checkpoint.tensors.get(name)!;
  return toFloat32({ name, dtype: entry.dtype, bytes: await readTensor(entry.file, entry) });
}

const encoders: Partial<Record<SafetensorsDType, (values: Float32Array) => Uint8Array>> = {
  F32: bytesOf,
  F16: (values) => bytesOf(float32ToFloat16(values)),
  BF16: (values) => bytesOf(float32ToBfloat16(values)),
  F64: (values) => new Uint8Array(Float64Array.from(values).buffer),
};
const encodeFloats = (values: Float32Array, dtype: SafetensorsDType): Uint8Array => encoders[dtype]!(values);

function checkSameTensors(model: Checkpoint, sources: readonly Checkpoint[]): void {
  const problems = sources.flatMap((source) => {
    if (source.config.model_type !== model.config.model_type)
      return [`${source.name} is a ${source.config.model_type}, ${model.name} a ${model.config.model_type}`];
    const names = [...new Set([...model.tensors.keys(), ...source.tensors.keys()])].sort();
    return names.flatMap((name) => {
      const [expected, found] = [model.tensors.get(name), source.tensors.get(name)];
      if (!found) return [`${name} is missing in ${source.name}`];
      if (!expected) return [`${name} is in ${source.name} but not in ${model.name}`];
      if (expected.shape.join() === found.shape.join()) return [];
      return [`${name} is [${expected.shape.join(", ")}] in ${model.name}, [${found.shape.join(", ")}] in ${source.name}`];
    });
  });
  if (problems.length === 0) return;
  const shown = problems.slice(0, 8).map((problem) => `\n  - ${problem}`);
  const rest = problems.length > shown.length ? `\n  and ${problems.length - shown.length} more` : "";
  throw new CheckpointError(
    `the models do not have the same tensors:${shown.join("")}${rest}\nMerge models of one architecture and vocabulary, tuned from one base.`,
  );
}
