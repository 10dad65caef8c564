/**
 * Uniform numbers in [0, 1) from a counter: element i is a hash of i and the seed, so every backend makes the same bits
 * and a backward pass can make them again. With all arithmetic on unsigned 32-bit integers:
 *   mix(h) = h ^= h >> 16; h *= 0x7feb352d; h ^= h >> 15; h *= 0x846ca68b; h ^= h >> 16   (Wellons' lowbias32)
 *   u(i) = (mix(i ^ mix(seed mod 2^32)) >> 8) / 2^24
 */
import type { Value } from "../graph.ts";
import type { Shape } from "../shape.ts";
import { count, defineOp, only, referenceArray } from "./define.ts";

/** The steps of `mix`: xor with a right shift, then a multiplication where there is one. */
export const mixSteps = [
  { shift: 16, factor: 0x7feb352d },
  { shift: 15, factor: 0x846ca68b },
  { shift: 16, factor: undefined },
] as const;

export function mix(value: number): number {
  let h = value >>> 0;
  for (const { shift, factor } of mixSteps) {
    h = (h ^ (h >>> shift)) >>> 0;
    if (factor !== undefined) h = Math.imul(h, factor) >>> 0;
  }
  return h;
}

export const randomUniformOp = defineOp({
  name: "randomUniform",
  infer: (_, { shape }) => [{ dtype: "float32" as const, shape: shape as Shape }],
  reference([seed], _, [shape]) {
    const key = mix(Number(BigInt.asUintN(32, BigInt(seed!.data[0]!))));
    const data = Float64Array.from({ length: count(shape!) }, (_unused, i) => (mix((i ^ key) >>> 0) >>> 8) / 2 ** 24);
    return [referenceArray(shape!, data)];
  },
});

/** @param seed int64 [] */
export const randomUniform = (seed: Value, shape: Shape): Value => only(seed.graph.add(randomUniformOp, [seed], { shape }));
