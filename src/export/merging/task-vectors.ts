/**
 * The steps that merge methods are made of, over flat vectors of equal length: the difference of a tuned tensor from its
 * base, or one factor of a LoRA update. Sums run in float64 and are rounded once; PEFT rounds every step to float32.
 */
import type { Random } from "../../base/random.ts";

/** The share `density` of the values that is largest in magnitude; the rest becomes zero. Of equal values the first stay. */
export function keepLargest(vector: Float32Array, density: number): Float32Array {
  if (density >= 1) return vector;
  const kept = Math.floor(density * vector.length);
  if (kept === 0) return new Float32Array(vector.length);
  const threshold = vector.map(Math.abs).sort()[vector.length - kept]!;
  let above = 0;
  for (const value of vector) if (Math.abs(value) > threshold) above++;
  let equal = kept - above;
  return vector.map((value) => (Math.abs(value) > threshold || (Math.abs(value) === threshold && equal-- > 0) ? value : 0));
}

/** Every value stays with probability `density`, divided by it, so that the expected vector is the same. */
export const keepRandom = (vector: Float32Array, density: number, random: Random): Float32Array =>
  density >= 1 ? vector : vector.map((value) => (random.next() < density ? value / density : 0));

export function weightedSum(vectors: readonly Float32Array[], weights: readonly number[]): Float32Array {
  return vectors[0]!.map((_, i) => vectors.reduce((sum, vector, v) => sum + weights[v]! * vector[i]!, 0));
}

/** What decides the sign at a place: the sum of the values, or how many are positive and how many negative. */
export const majoritySignMethods = ["total", "frequency"] as const;
export type MajoritySignMethod = (typeof majoritySignMethods)[number];

/** At every place the weighted mean of those values that have the elected sign; an even vote elects plus. */
export function disjointMean(vectors: readonly Float32Array[], weights: readonly number[], method: MajoritySignMethod): Float32Array {
  return vectors[0]!.map((_, i) => {
    const vote = vectors.reduce((sum, vector) => sum + (method === "total" ? vector[i]! : Math.sign(vector[i]!)), 0);
    const elected = vote >= 0 ? 1 : -1;
    let [sum, count] = [0, 0];
    for (const [v, vector] of vectors.entries()) {
      if (Math.sign(vector[i]!) !== elected) continue;
      sum += weights[v]! * vector[i]!;
      count++;
    }
    return sum / Math.max(count, 1);
  });
}
