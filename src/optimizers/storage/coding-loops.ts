/** The loops that code and decode blocks of 256 numbers, in WebAssembly: an element takes 0.7 and 0.3 ns, in JavaScript 5.8 and 1.8. */
import { advance, choose, f32, f32x4, i32, i32x4, localGet, localSet, repeatWhile, v128 } from "../../backends/wasm/expressions.ts";
import { type Bytes, compileFunctions, memoryOfBytes, pageBytes, type WasmFunction } from "../../backends/wasm/module.ts";

export const blockSize = 256;

/** Buckets of numbers by the upper 16 bits of their magnitude as float32: from 2^-23, below which all are in the first, to 1, above which in the last. */
export const buckets = { first: 0x3400, last: 0x3f80 } as const;
/** For each sign. */
export const bucketCount = buckets.last - buckets.first + 1;

/** Where the tables and the data begin in memory. The step of a bucket stands at four times its upper half. */
const places = { values: 0, steps: 4 * buckets.first, data: 80 * 1024 } as const;

export interface CodingTables {
  /** Of each code, [256]. */
  readonly values: ArrayLike<number>;
  /**
   * For each bucket of numbers from 0 on, then for each of those below, [2 * bucketCount]. The upper half is the code of the lowest number;
   * the lower half carries into it where it is added to that of a number for which the next code is the nearest. A bucket has no third code.
   * Lower halves of numbers below 0 are inverted, so that they rise with the number.
   */
  readonly steps: ArrayLike<number>;
}

interface Loops {
  /** All addresses; blocks are whole, `end` is where the numbers end. */
  encode(numbers: number, codes: number, absmax: number, end: number): void;
  decode(numbers: number, codes: number, absmax: number, end: number): void;
}

/** One set of blocks in the loops' memory. */
export interface BlockMemory {
  readonly numbers: Float32Array;
  readonly codes: Uint8Array;
  readonly absmax: Float32Array;
  /** numbers -> codes and absmax. */
  encode(): void;
  /** codes and absmax -> numbers. */
  decode(): void;
}

/** @returns memory for a number of elements; it stands until the next call */
export function createCodingLoops(tables: CodingTables): (size: number) => BlockMemory {
  const memory = memoryOfBytes(places.data);
  const loops = compileFunctions<Loops>({ encode: encodeLoop(), decode: decodeLoop() })(memory);
  new Float32Array(memory.buffer, places.values).set(tables.values);
  new Uint32Array(memory.buffer, places.steps).set(tables.steps);
  return (size) => {
    const blocks = Math.ceil(size / blockSize);
    const [numbers, codes] = [places.data, places.data + 4 * blockSize * blocks];
    const absmax = codes + blockSize * blocks;
    const missing = absmax + 4 * blocks - memory.buffer.byteLength;
    if (missing > 0) memory.grow(Math.ceil(missing / pageBytes));
    return {
      numbers: new Float32Array(memory.buffer, numbers, size),
      codes: new Uint8Array(memory.buffer, codes, size),
      absmax: new Float32Array(memory.buffer, absmax, blocks),
      encode() {
        new Float32Array(memory.buffer, numbers, blocks * blockSize).fill(0, size);
        if (blocks > 0) loops.encode(numbers, codes, absmax, codes);
      },
      decode() {
        if (blocks > 0) loops.decode(numbers, codes, absmax, codes);
      },
    };
  };
}

/** The parameters of both loops. */
const [numbers, codes, absmax, end] = [localGet(0), localGet(1), localGet(2), localGet(3)];
const blockBytes = 4 * blockSize;

/** The eight codes in the upper halves of two vectors of steps, and the same again. */
const codesIn = (a: Bytes, b: Bytes): number[] => {
  const upper = [0, 1, 2, 3, 4, 5, 6, 7].map((lane) => 4 * lane + 2);
  return v128.pickBytes(a, b, [...upper, ...upper]);
};

function encodeLoop(): WasmFunction {
  const [at, blockEnd, largest, scale, scaled, place] = [4, 5, 6, 7, 8, 9] as const;
  /** First the largest of every sixteenth number, four times four of them, so that none waits for the one before; then steps. */
  const [first, second, third, fourth] = [10, 11, 12, 13] as const;
  const get = localGet;
  const maxima = [first, second, third, fourth];
  const largestOfBlock = [
    ...maxima.map((four) => [...f32x4.splat(f32.constant(0)), ...localSet(four)]),
    [...numbers, ...localSet(at)],
    [...i32.add(numbers, i32.constant(blockBytes)), ...localSet(blockEnd)],
    repeatWhile(
      [
        ...maxima.map((four, i) => [...f32x4.greaterOf(get(four), f32x4.abs(f32x4.load(get(at), 16 * i))), ...localSet(four)]),
        advance(at, 64),
      ],
      i32.less(get(at), get(blockEnd)),
    ),
    [...maxima.map(get).reduce(f32x4.greaterOf), ...localSet(first)],
    [...[0, 1, 2, 3].map((lane) => f32x4.lane(get(first), lane)).reduce(f32.max), ...localSet(largest)],
  ];
  const inverse = choose(f32.greater(get(largest), f32.constant(0)), f32.div(f32.constant(1), get(largest)), f32.constant(0));
  const splat = (value: number): number[] => i32x4.splat(i32.constant(value));
  const upper = i32x4.shiftRight(i32x4.shiftLeft(get(scaled), 1), 17);
  const clamped = i32x4.min(i32x4.max(upper, splat(buckets.first)), splat(buckets.last));
  const signs = i32x4.signs(get(scaled));
  const bucket = i32x4.add(clamped, v128.and(signs, splat(bucketCount)));
  const lower = v128.and(v128.xor(get(scaled), signs), splat(0xffff));
  const stepsOf = (four: number, into: number): number[][] => {
    const addresses = [0, 1, 2, 3].map((lane) => i32x4.lane(get(place), lane));
    return [
      [...f32x4.mul(f32x4.load(numbers, 16 * four), get(scale)), ...localSet(scaled)],
      [...i32x4.shiftLeft(bucket, 2), ...localSet(place)],
      [...i32x4.add(f32x4.gather(addresses, 0), lower), ...localSet(into)],
    ];
  };
  const block = [
    ...largestOfBlock,
    f32.store(absmax, 0, get(largest)),
    [...f32x4.splat(inverse), ...localSet(scale)],
    repeatWhile(
      [
        ...[...stepsOf(0, first), ...stepsOf(1, second)],
        v128.storeHalf(codes, codesIn(get(first), get(second))),
        ...[advance(0, 32), advance(1, 8)],
      ],
      i32.less(numbers, get(blockEnd)),
    ),
    advance(2, 4),
  ];
  return {
    parameters: ["i32", "i32", "i32", "i32"],
    locals: [
      { type: "i32", count: 2 },
      { type: "f32", count: 1 },
      { type: "v128", count: 7 },
    ],
    body: repeatWhile(block, i32.less(numbers, end)),
  };
}

function decodeLoop(): WasmFunction {
  const [blockEnd, scale] = [4, 5] as const;
  const addresses = [0, 1, 2, 3].map((lane) => i32.shiftLeft(i32.loadByte(codes, lane), 2));
  const block = [
    [...f32x4.splat(f32.load(absmax, 0)), ...localSet(scale)],
    [...i32.add(numbers, i32.constant(blockBytes)), ...localSet(blockEnd)],
    repeatWhile(
      [f32x4.store(numbers, f32x4.mul(f32x4.gather(addresses, places.values), localGet(scale))), advance(0, 16), advance(1, 4)],
      i32.less(numbers, localGet(blockEnd)),
    ),
    advance(2, 4),
  ];
  return {
    parameters: ["i32", "i32", "i32", "i32"],
    locals: [
      { type: "i32", count: 1 },
      { type: "v128", count: 1 },
    ],
    body: repeatWhile(block, i32.less(numbers, end)),
  };
}
