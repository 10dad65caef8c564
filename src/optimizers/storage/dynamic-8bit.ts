/**
 * Block-wise dynamic 8-bit storage: an element is one of 256 values between -1 and 1 (or 0 and 1), times the largest magnitude
 * of its block of 256. Dettmers et al. 2021, https://arxiv.org/abs/2110.02861; the values are those of bitsandbytes'
 * create_dynamic_map, and an element takes the nearest. (bitsandbytes' own kernel for the CPU is coarser: it rounds to a grid first.)
 */
import { blockSize, bucketCount, buckets, createCodingLoops } from "./coding-loops.ts";

export { blockSize };

export interface DynamicMap {
  /** Rising, [256]. */
  readonly values: Float32Array;
  /** Half way between a value and the next, [256]; infinity after the last. */
  readonly middles: Float32Array;
  /** How the coding finds the nearest (`CodingTables`). */
  readonly steps: Uint32Array;
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
  const middles = Float32Array.from(values, (value, i) => Math.fround((value + (values[i + 1] ?? Number.POSITIVE_INFINITY)) / 2));
  const positive = Array.from({ length: bucketCount }, (_, i) => (i === 0 ? 0 : fromBits((buckets.first + i) << 16)));
  const negative = Array.from({ length: bucketCount }, (_, i) => -fromBits(((buckets.first + i) << 16) | 0xffff));
  return { values, middles, steps: Uint32Array.from([...positive, ...negative], (lowest) => stepOf(lowest, middles)) };
}

/** Of the bucket that begins with this number. At most one middle lies in a bucket; numbers beyond it carry. */
function stepOf(lowest: number, middles: Float32Array): number {
  const code = nearest(lowest, middles);
  const [from, middle] = [bitsOf(lowest), bitsOf(middles[code]!)];
  const lower = (middle >>> 31 === 1 ? ~middle : middle) & 0xffff;
  return (code << 16) | (middle >>> 16 === from >>> 16 ? 0xffff - lower : 0);
}

const fromBits = (bits: number): number => new Float32Array(Uint32Array.of(bits).buffer)[0]!;
const bitsOf = (value: number): number => new Uint32Array(Float32Array.of(value).buffer)[0]!;

/** By bisection: how many middles lie below x. */
function nearest(x: number, middles: Float32Array): number {
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

/** Codes and decodes in memory of its own, where an update may work on the numbers. */
export class BlockCoder {
  readonly #memoryFor: ReturnType<typeof createCodingLoops>;

  constructor(map: DynamicMap) {
    this.#memoryFor = createCodingLoops(map);
  }

  /** The numbers [size], which stand until the next call. */
  decode({ codes, absmax }: EncodedBlocks): Float32Array {
    const memory = this.#memoryFor(codes.length);
    memory.codes.set(codes);
    memory.absmax.set(absmax);
    memory.decode();
    return memory.numbers;
  }

  /** Writes codes and scales of numbers [size]; those that `decode` gave last, changed in place, are not copied. */
  encode(numbers: Float32Array, { codes, absmax }: EncodedBlocks): void {
    const memory = this.#memoryFor(numbers.length);
    if (numbers.buffer !== memory.numbers.buffer) memory.numbers.set(numbers);
    memory.encode();
    codes.set(memory.codes);
    absmax.set(memory.absmax);
  }
}
