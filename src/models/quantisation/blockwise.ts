/** Codes by blocks that share a scale: the nearest entries of a sorted table, as bitsandbytes finds them, in float32. */
import { CheckpointError } from "../../base/errors.ts";

export interface Blockwise {
  /** Index into the table for each number. */
  readonly codes: Uint8Array;
  /** Largest magnitude of each block. */
  readonly absmax: Float32Array;
}

export interface BlockwiseOptions {
  /** Ascending, -1 to 1. */
  readonly table: Float32Array;
  readonly blockSize: number;
}

/** @throws CheckpointError if a number is not finite */
export function quantiseBlockwise(values: Float32Array, { table, blockSize }: BlockwiseOptions): Blockwise {
  const find = nearestIn(table);
  const codes = new Uint8Array(values.length);
  const absmax = new Float32Array(Math.ceil(values.length / blockSize));
  for (let block = 0; block < absmax.length; block++) {
    const [start, end] = [block * blockSize, Math.min(values.length, (block + 1) * blockSize)];
    const largest = largestMagnitude(values.subarray(start, end));
    absmax[block] = largest;
    const inverse = Math.fround(1 / Math.max(largest, 1e-38));
    for (let i = start; i < end; i++) codes[i] = find(Math.fround(values[i]! * inverse));
  }
  return { codes, absmax };
}

/** @throws CheckpointError if a number is not finite */
export function largestMagnitude(values: Float32Array): number {
  let [largest, total] = [0, 0];
  for (let i = 0; i < values.length; i++) {
    const magnitude = Math.abs(values[i]!);
    total += magnitude;
    if (magnitude > largest) largest = magnitude;
  }
  if (!Number.isFinite(total))
    throw new CheckpointError(`a weight is ${values.find((value) => !Number.isFinite(value))}, which has no code. Repair the checkpoint.`);
  return largest;
}

/** The number of boundaries between entries that lie below a value, by halving. */
function nearestIn(table: Float32Array): (value: number) => number {
  const boundaries = Float32Array.from({ length: table.length - 1 }, (_, i) => Math.fround(table[i]! + table[i + 1]!) / 2);
  const firstStep = 2 ** Math.floor(Math.log2(boundaries.length));
  return (value) => {
    let below = 0;
    for (let step = firstStep; step >= 1; step /= 2) {
      const next = below + step;
      if (next <= boundaries.length && boundaries[next - 1]! < value) below = next;
    }
    return below;
  };
}
