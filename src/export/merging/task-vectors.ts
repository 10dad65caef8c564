/**
 * The steps that merge methods are made of, over flat vectors of equal length: the difference of a tuned tensor from its
 * base, or one factor of a LoRA update. Sums run in float64 and are rounded once; PEFT rounds every step to float32.
 */
import type { Random } from "../../base/random.ts";

/** The share `density` of the values that is largest in magnitude; the rest becomes zero. Of equal values the first stay. */
export function keepLargest(vector: Float32Array, density: number): Float32Array {
  if (density >= 1) return vector;
  const result = new Float32Array(vector.length);
  const kept = Math.floor(density * vector.length);
  if (kept === 0) return result;
  const { threshold, above } = largestMagnitude(vector, kept);
  let equal = kept - above;
  for (let i = 0; i < vector.length; i++) {
    const magnitude = Math.abs(vector[i]!);
    if (magnitude > threshold || (magnitude === threshold && equal-- > 0)) result[i] = vector[i]!;
  }
  return result;
}

/** The `rank`-th largest magnitude (from 1), and how many are above it: counted by the halves of its bits, which order as it does. */
function largestMagnitude(vector: Float32Array, rank: number): { threshold: number; above: number } {
  const bits = new Uint32Array(vector.buffer, vector.byteOffset, vector.length);
  let [chosen, above] = [0, 0];
  for (const shift of [16, 0]) {
    const counts = new Uint32Array(1 << 16);
    for (let i = 0; i < bits.length; i++) {
      const magnitude = bits[i]! & 0x7fffffff;
      if (shift === 16 || magnitude >>> 16 === chosen) counts[(magnitude >>> shift) & 0xffff]!++;
    }
    let digit = counts.length - 1;
    while (above + counts[digit]! < rank) above += counts[digit--]!;
    chosen = shift === 16 ? digit : (chosen << 16) | digit;
  }
  return { threshold: new Float32Array(Uint32Array.of(chosen).buffer)[0]!, above };
}

/** Every value stays with probability `density`, divided by it, so that the expected vector is the same. */
export function keepRandom(vector: Float32Array, density: number, random: Random): Float32Array {
  if (density >= 1) return vector;
  const result = new Float32Array(vector.length);
  for (let i = 0; i < vector.length; i++) if (random.next() < density) result[i] = vector[i]! / density;
  return result;
}

export function weightedSum(vectors: readonly Float32Array[], weights: readonly number[]): Float32Array {
  const result = new Float32Array(vectors[0]!.length);
  for (let i = 0; i < result.length; i++) {
    let sum = 0;
    for (let v = 0; v < vectors.length; v++) sum += weights[v]! * vectors[v]![i]!;
    result[i] = sum;
  }
  return result;
}

/** What decides the sign at a place: the sum of the values, or how many are positive and how many negative. */
export const majoritySignMethods = ["total", "frequency"] as const;
export type MajoritySignMethod = (typeof majoritySignMethods)[number];

/** At every place the weighted mean of those values that have the elected sign; an even vote elects plus. */
export function disjointMean(vectors: readonly Float32Array[], weights: readonly number[], method: MajoritySignMethod): Float32Array {
  const result = new Float32Array(vectors[0]!.length);
  for (let i = 0; i < result.length; i++) {
    let vote = 0;
    for (const vector of vectors) vote += method === "total" ? vector[i]! : Math.sign(vector[i]!);
    const elected = vote >= 0 ? 1 : -1;
    let [sum, count] = [0, 0];
    for (let v = 0; v < vectors.length; v++) {
      const value = vectors[v]![i]!;
      if (Math.sign(value) !== elected) continue;
      sum += weights[v]! * value;
      count++;
    }
    result[i] = sum / Math.max(count, 1);
  }
  return result;
}
