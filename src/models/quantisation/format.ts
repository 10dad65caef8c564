/** What a format for quantised weights provides. Only frozen weights of linear layers are quantised; they are [out, in] then, as bitsandbytes has them. */
import { z } from "zod";
import type { HostTensor } from "../../tensor/host-tensor.ts";
import type { LinearLayout } from "../segment-builder.ts";
import type { ParameterStorage, StoredTensors } from "../storage.ts";

/** An option of every format. */
export const embeddings = z
  .enum(["bfloat16", "checkpoint", "int8"])
  .default("bfloat16")
  .describe(
    "How embeddings and head are held: in half of float32's memory, as the checkpoint has them, or row by row in 8-bit integers, where `compute: int8` of the format int8 multiplies the head in integers too.",
  );

export interface QuantisedStorage extends ParameterStorage {
  /** @param weight in the parameter's own shape and layout
   * @throws CheckpointError if a number is not finite */
  quantise(weight: Float32Array, shape: readonly number[]): StoredTensors<HostTensor>;
}

// biome-ignore lint/suspicious/noExplicitAny: a registry holds formats of many config types
export interface QuantisationFormat<Config = any> {
  readonly name: string;
  readonly summary: string;
  /** Of a code. */
  readonly bits: number;
  readonly paper: string;
  readonly configSchema: z.ZodType<Config>;
  storage(config: Config, layout: LinearLayout): QuantisedStorage;
}

export const defineFormat = <Schema extends z.ZodType, F extends QuantisationFormat<z.output<Schema>>>(
  format: F & { readonly configSchema: Schema },
): F => format;

/** Rows and columns of a weight's quantised form. */
export const outIn = ([first, second]: readonly number[], layout: LinearLayout): [number, number] =>
  layout === "out-in" ? [first!, second!] : [second!, first!];

/** A matrix of `columns` turned: from in-out to out-in or back. */
export function turned(matrix: Float32Array, columns: number): Float32Array {
  const rows = matrix.length / columns;
  const result = new Float32Array(matrix.length);
  for (let row = 0; row < rows; row++)
    for (let column = 0; column < columns; column++) result[column * rows + row] = matrix[row * columns + column]!;
  return result;
}
