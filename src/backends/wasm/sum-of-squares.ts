/** The sum of the squares of many numbers, in float64: a loop in WebAssembly that takes half of the time of one in JavaScript. */
import { advance, f64, f64x2, i32, localGet, localSet, repeatWhile } from "./expressions.ts";
import { type Bytes, compileFunctions, memoryOfBytes } from "./module.ts";
import { memoryOf } from "./vector-memory.ts";

/** Numbers that are copied into the loop's own memory at once, where they lie in no `VectorMemory`; they fit a core's second cache. */
const blockElements = 1 << 15;
/** Sums side by side, two numbers each: one alone would wait for each addition before the next. */
const sums = 8;
/** Elements that one turn of the loop reads. */
const turnElements = 2 * sums;

export function sumOfSquares(values: Float32Array): number {
  loopOn ??= compile();
  const memory = memoryOf([values]);
  const inPlace = memory ? values.length - (values.length % turnElements) : 0;
  let total = memory && inPlace > 0 ? loopOn(memory).sum(values.byteOffset, 4 * inPlace) : 0;
  if (inPlace < values.length) {
    own ??= memoryOfBytes(4 * blockElements);
    const block = new Float32Array(own.buffer);
    for (let start = inPlace; start < values.length; start += blockElements) {
      const length = Math.min(blockElements, values.length - start);
      const turns = Math.ceil(length / turnElements);
      block.set(values.subarray(start, start + length));
      block.fill(0, length, turns * turnElements);
      total += loopOn(own).sum(0, 4 * turns * turnElements);
    }
  }
  return total;
}

interface Loop {
  /** @param bytes from the address on, one turn's or a multiple */
  sum(address: number, bytes: number): number;
}

let own: WebAssembly.Memory | undefined;
let loopOn: ((memory: WebAssembly.Memory) => Loop) | undefined;

function compile(): (memory: WebAssembly.Memory) => Loop {
  const [address, bytes, offset, pair, firstSum] = [0, 1, 2, 3, 4];
  const all = Array.from({ length: sums }, (_, i) => firstSum + i);
  const at = i32.add(localGet(address), localGet(offset));
  const turn = all.flatMap((sum, i) => [
    ...f64x2.promoteTwo(at, 8 * i),
    ...localSet(pair),
    ...f64x2.add(localGet(sum), f64x2.mul(localGet(pair), localGet(pair))),
    ...localSet(sum),
  ]);
  const total = all.slice(1).reduce<Bytes>((sum, next) => f64x2.add(sum, localGet(next)), localGet(firstSum));
  return compileFunctions<Loop>({
    sum: {
      parameters: ["i32", "i32"],
      result: "f64",
      locals: [
        { type: "i32", count: 1 },
        { type: "v128", count: 1 + sums },
      ],
      body: [
        ...repeatWhile([turn, advance(offset, 4 * turnElements)], i32.less(localGet(offset), localGet(bytes))),
        ...total,
        ...localSet(pair),
        ...f64.add(f64x2.lane(localGet(pair), 0), f64x2.lane(localGet(pair), 1)),
      ],
    },
  });
}
