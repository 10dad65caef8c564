/** The memory of optimizer state: float32, or one byte an element in blocks. Rules see float32 either way. */
import type { StateTensor } from "../optimizers/optimizer.ts";
import { BlockCoder, blockSize, type EncodedBlocks, signedMap, unsignedMap } from "../optimizers/storage/dynamic-8bit.ts";

/** Elements from `start` to `end` of a tensor in row order. */
export interface Range {
  readonly start: number;
  readonly end: number;
}

export interface StoredTensor {
  readonly sizeBytes: number;
  /** float32 values: the memory itself, or a decoded copy that the next `read` may overwrite. Encoded ranges start at a multiple of 256. */
  read(range: Range): Float32Array;
  /** Keeps what has become of the values that `read` gave. */
  write(range: Range, values: Float32Array): void;
  /** The memory itself, as a checkpoint keeps it, each part under a suffix of its name. */
  parts(range: Range): ReadonlyMap<string, Float32Array | Uint8Array>;
}

/** The coders of encoded state, shared by tensors that are never read at the same time: those of one name. */
export class Coders {
  readonly #coders = new Map<string, BlockCoder>();

  for(name: string, storage: NonNullable<StateTensor["storage"]>): BlockCoder {
    const key = `${name} ${storage}`;
    const coder = this.#coders.get(key) ?? new BlockCoder(storage === "signed-8bit" ? signedMap : unsignedMap);
    this.#coders.set(key, coder);
    return coder;
  }
}

/** @param coder where the tensor is held as codes */
export const createStoredTensor = (size: number, coder: BlockCoder | undefined): StoredTensor =>
  coder ? createEncoded(size, coder) : createPlain(size);

function createPlain(size: number): StoredTensor {
  const memory = new Float32Array(size);
  return {
    sizeBytes: memory.byteLength,
    read: ({ start, end }) => memory.subarray(start, end),
    write(range, values) {
      const target = memory.subarray(range.start, range.end);
      if (target.byteOffset !== values.byteOffset || target.buffer !== values.buffer) target.set(values);
    },
    parts: ({ start, end }) => new Map([["", memory.subarray(start, end)]]),
  };
}

function createEncoded(size: number, coder: BlockCoder): StoredTensor {
  const codes = new Uint8Array(size);
  const absmax = new Float32Array(Math.ceil(size / blockSize));
  const blocks = ({ start, end }: Range): EncodedBlocks => ({
    codes: codes.subarray(start, end),
    absmax: absmax.subarray(start / blockSize, Math.ceil(end / blockSize)),
  });
  return {
    sizeBytes: codes.byteLength + absmax.byteLength,
    read: (range) => coder.decode(blocks(range)),
    write: (range, values) => coder.encode(values, blocks(range)),
    parts(range) {
      const { codes, absmax } = blocks(range);
      return new Map<string, Float32Array | Uint8Array>([
        [".codes", codes],
        [".absmax", absmax],
      ]);
    },
  };
}
