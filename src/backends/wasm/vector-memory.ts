/**
 * Vectors that loops in WebAssembly work on where they lie; of others they work on copies, block by block. All operands of a loop have to
 * lie in one memory. It has its size for life, since growing would cut its vectors off, and is at most 4 GiB; what nobody wrote to takes no space.
 */
import { pageBytes } from "./module.ts";

/** What one memory holds, in float32 elements. */
export const mostElements = 2 ** 30;
/** Vectors start at multiples of a line of the cache. */
const alignment = 16;

const memories = new WeakMap<ArrayBufferLike, WebAssembly.Memory>();

export class VectorMemory {
  readonly #memory: WebAssembly.Memory | undefined;
  #taken = 0;

  /** @param elements that will be asked for, in `vectors` vectors; more than a memory holds get memory of their own */
  constructor({ elements, vectors }: { readonly elements: number; readonly vectors: number }) {
    this.#memory = createMemory(elements + alignment * vectors);
    if (this.#memory) memories.set(this.#memory.buffer, this.#memory);
  }

  /** Zeros. A vector for which there is no room lies elsewhere. */
  vector(length: number): Float32Array<ArrayBuffer> {
    const start = this.#taken;
    if (!this.#memory || 4 * (start + length) > this.#memory.buffer.byteLength) return new Float32Array(length);
    this.#taken = Math.ceil((start + length) / alignment) * alignment;
    return new Float32Array(this.#memory.buffer, 4 * start, length);
  }
}

/** Undefined where the host has no such memory to give. */
function createMemory(elements: number): WebAssembly.Memory | undefined {
  if (elements > mostElements) return undefined;
  const pages = Math.ceil((4 * elements) / pageBytes);
  try {
    return new WebAssembly.Memory({ initial: pages, maximum: pages });
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}

/** The memory in which all of the arrays lie. */
export function memoryOf(arrays: readonly Float32Array[]): WebAssembly.Memory | undefined {
  const buffer = arrays[0]?.buffer;
  return buffer && arrays.every((array) => array.buffer === buffer) ? memories.get(buffer) : undefined;
}
