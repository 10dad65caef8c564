/**
 * Block-wise dynamic 8-bit storage: an element is one of 256 values between -1 and 1 (or 0 and 1), times the largest magnitude
 * of its block of 256. Dettmers et al. 2021, https://arxiv.org/abs/2110.02861; the values are those of bitsandbytes'
 * create_dynamic_map, and an element takes the nearest. (bitsandbytes' own kernel for the CPU is coarser: it rounds to a grid first.)
 */

export const blockSize = 256;

export interface DynamicMap {
  /** Rising, [256]. */
  readonly values: Float32Array;
  /** Half way between a value and the next, [256]; infinity after the last. */
  readonly middles: Float64Array;
  /** By the upper 16 bits of a float32: the code of the lowest number that has them. At most one middle lies among these numbers. */
  readonly lowestCode: Uint8Array;
}

const decades = 7;

/** Decades from 1e-6 to 1, each cut into twice as many equal parts as the one below; a value is the middle of its part. */
function mapValues({ signed }: { signed: boolean }): Float32Array {
  const positive: number[] = [];
  for (let decade = 0; decade < decades; decade++) {
    const bounds = partBounds(2 ** (signed ? decade : decade + 1));
    const scale = Math.fround(10 ** (decade + 1 - decades));
    for (let part = 0; part + 1 < bounds.length; part++)
      positive.push(Math.fround(Math.fround(bounds[part]! + bounds[part + 1]!) / 2) * scale);
  }
  return Float32Array.from([...(signed ? positive.map((value) => -value) : []), 0, ...positive, 1]).sort();
}

/** From 0.1 to 1 in equal steps, rounded to float32 in the places where torch.linspace rounds, so that no bit differs from bitsandbytes'. */
function partBounds(parts: number): Float32Array {
  const first = Math.fround(0.1);
  const step = Math.fround(Math.fround(1 - first) / parts);
  return Float32Array.from({ length: parts + 1 }, (_, i) => (2 * i < parts + 1 ? first + step * i : 1 - step * (parts - i)));
}

function createMap(of: { signed: boolean }): DynamicMap {
  const values = mapValues(of);
  const middles = Float64Array.from(values, (value, i) => Math.fround((value + (values[i + 1] ?? Number.POSITIVE_INFINITY)) / 2));
  const lowestCode = new Uint8Array(1 << 16);
  const number = new Float32Array(1);
  const bits = new Uint32Array(number.buffer);
  for (let upper = 0; upper < 1 << 16; upper++) {
    const isNegative = upper >= 0x8000;
    bits[0] = upper * 0x10000 + (isNegative ? 0xffff : 0);
    lowestCode[upper] = nearest(number[0]!, middles);
  }
  return { values, middles, lowestCode };
}

/** By bisection: how many middles lie below x. */
function nearest(x: number, middles: Float64Array): number {
  let [low, high] = [0, middles.length - 1];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (x > middles[middle]!) low = middle + 1;
    else high = middle;
  }
  return low;
}

export const signedMap = createMap({ signed: true });
export const unsignedMap = createMap({ signed: false });

export interface EncodedBlocks {
  readonly codes: Uint8Array;
  /** Largest magnitude of each block, [ceil(size / 256)]. */
  readonly absmax: Float32Array;
}

/** @param into [size], as long as the codes */
export function decode({ codes, absmax }: EncodedBlocks, { values }: DynamicMap, into: Float32Array): void {
  for (let block = 0; block < absmax.length; block++) {
    const scale = absmax[block]!;
    const end = Math.min(codes.length, (block + 1) * blockSize);
    for (let i = block * blockSize; i < end; i++) into[i] = values[codes[i]!]! * scale;
  }
}

/** Writes codes and scales of numbers [size]. */
export function encode(numbers: Float32Array, { middles, lowestCode }: DynamicMap, { codes, absmax }: EncodedBlocks): void {
  const scaled = new Float32Array(blockSize);
  const bits = new Uint32Array(scaled.buffer);
  for (let block = 0; block < absmax.length; block++) {
    const start = block * blockSize;
    const length = Math.min(numbers.length - start, blockSize);
    let largest = 0;
    for (let i = 0; i < length; i++) {
      const magnitude = Math.abs(numbers[start + i]!);
      if (magnitude > largest) largest = magnitude;
    }
    absmax[block] = largest;
    const inverse = largest > 0 ? Math.fround(1 / largest) : 0;
    for (let i = 0; i < length; i++) scaled[i] = numbers[start + i]! * inverse;
    for (let i = 0; i < length; i++) {
      const code = lowestCode[bits[i]! >>> 16]!;
      codes[start + i] = code + Number(scaled[i]! > middles[code]!);
    }
  }
}
