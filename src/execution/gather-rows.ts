/** Rows of a hidden state in the memory of the host. */
import type { HostTensor } from "../backends/backend.ts";

/** Rows of a hidden state [B, T, C] at flat positions, written to a vector of [n, C]. */
export function gatherRows({ data, dims }: HostTensor, positions: Int32Array, into: Float32Array): void {
  const C = dims.at(-1)!;
  positions.forEach((position, i) => {
    into.set((data as Float32Array).subarray(position * C, (position + 1) * C), i * C);
  });
}
