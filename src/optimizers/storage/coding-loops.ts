/** The loops that code and decode blocks of 256 numbers, in WebAssembly: an element takes 1.0 and 0.3 ns, in JavaScript 5.8 and 1.8. */
import { advance, choose, f32, f32x4, i32, i32x4, localGet, localSet, repeatWhile, v128 } from "../../backends/wasm/expressions.ts";
import { moduleBytes, pageBytes, type WasmFunction } from "../../backends/wasm/module.ts";

export const blockSize = 256;

/** Buckets of numbers by the upper 16 bits of their magnitude as float32: from 2^-23, below which all are in the first, to 1, above which in the last. */
export const buckets = { first: 0x3400, last: 0x3f80 } as const;
/** For each sign. */
export const bucketCount = buckets.last - buckets.first + 1;

/** Where the tables and the data begin in memory. */
const places = { values: 0, middles: 4 * 256, lowestCode: 8 * 256, data: 8192 } as const;

export interface CodingTables {
  /** Of each code, [256]. */
  readonly values: ArrayLike<number>;
  /** The largest number that a code is the nearest to, [256]. */
  readonly middles: ArrayLike<number>;
  /** The code of the lowest number in each bucket: of those from 0 on, then of those below; [2 * bucketCount]. The next code is the only other one of a bucket. */
  readonly lowestCode: ArrayLike<number>;
}

interface LoopExports {
  readonly memory: WebAssembly.Memory;
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
  const module = moduleBytes({ functions: { encode: encodeLoop(), decode: decodeLoop() }, memoryPages: 1 });
  const loops = new WebAssembly.Instance(new WebAssembly.Module(module)).exports as unknown as LoopExports;
  const { memory } = loops;
  new Float32Array(memory.buffer, places.values).set(tables.values);
  new Float32Array(memory.buffer, places.middles).set(tables.middles);
  new Uint8Array(memory.buffer, places.lowestCode).set(tables.lowestCode);
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

function encodeLoop(): WasmFunction {
  const [at, blockEnd, code, largest, scale, scaled, bucket] = [4, 5, 6, 7, 8, 9, 10] as const;
  const get = localGet;
  const largestOfBlock = [
    [...f32x4.splat(f32.constant(0)), ...localSet(scale)],
    [...numbers, ...localSet(at)],
    [...i32.add(numbers, i32.constant(blockBytes)), ...localSet(blockEnd)],
    repeatWhile(
      [[...f32x4.greaterOf(get(scale), f32x4.abs(f32x4.load(get(at)))), ...localSet(scale)], advance(at, 16)],
      i32.less(get(at), get(blockEnd)),
    ),
    [...[0, 1, 2, 3].map((lane) => f32x4.lane(get(scale), lane)).reduce(f32.max), ...localSet(largest)],
  ];
  const inverse = choose(f32.greater(get(largest), f32.constant(0)), f32.div(f32.constant(1), get(largest)), f32.constant(0));
  const splat = (value: number): number[] => i32x4.splat(i32.constant(value));
  const upper = i32x4.shiftRight(i32x4.shiftLeft(get(scaled), 1), 17);
  const clamped = i32x4.min(i32x4.max(upper, splat(buckets.first)), splat(buckets.last));
  const ofNegative = v128.and(i32x4.signs(get(scaled)), splat(bucketCount));
  const codeLane = (lane: number): number[] => {
    const passed = f32.greater(f32x4.lane(get(scaled), lane), f32.load(i32.shiftLeft(get(code), 2), places.middles));
    return [
      ...[...i32.loadByte(i32x4.lane(get(bucket), lane), places.lowestCode), ...localSet(code)],
      ...i32.storeByte(codes, lane, i32.add(get(code), passed)),
    ];
  };
  const block = [
    ...largestOfBlock,
    f32.store(absmax, 0, get(largest)),
    [...f32x4.splat(inverse), ...localSet(scale)],
    repeatWhile(
      [
        [...f32x4.mul(f32x4.load(numbers), get(scale)), ...localSet(scaled)],
        [...i32x4.add(i32x4.sub(clamped, splat(buckets.first)), ofNegative), ...localSet(bucket)],
        ...[0, 1, 2, 3].map(codeLane),
        ...[advance(0, 16), advance(1, 4)],
      ],
      i32.less(numbers, get(blockEnd)),
    ),
    advance(2, 4),
  ];
  return {
    parameters: ["i32", "i32", "i32", "i32"],
    locals: [
      { type: "i32", count: 3 },
      { type: "f32", count: 1 },
      { type: "v128", count: 3 },
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
