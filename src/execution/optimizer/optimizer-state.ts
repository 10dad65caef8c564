/** The memory of optimizer state: float32, or one byte an element in blocks. Rules see float32 either way. */
import type { VectorMemory } from "../../backends/wasm/vector-memory.ts";
import { CheckpointError } from "../../base/errors.ts";
import type { Optimizer, Scalars, StateTensor } from "../../optimizers/optimizer.ts";
import { BlockCoder, blockSize, type EncodedBlocks, signedMap, unsignedMap } from "../../optimizers/storage/dynamic-8bit.ts";

/** By `<parameter>.<state>`, and `memory.<name>` for what is remembered from step to step. */
export type OptimizerState = ReadonlyMap<string, Float32Array | Uint8Array>;

/** An optimizer with the memory of what it moves. */
export interface TrainedOptimizer {
  readonly stateBytes: number;
  /** True if it works where a device keeps weights and gradients; otherwise both have to be in the host's memory. */
  readonly isOnDevice: boolean;
  /** @param step counts from 1 */
  update(options: { learningRate: number; step: number; gradientScale: number }): Promise<void>;
  /** Live state or a copy of it: to be read before the next step. */
  readState(): OptimizerState | Promise<OptimizerState>;
  /** @throws CheckpointError if a part is missing or of another size */
  writeState(state: OptimizerState): void | Promise<void>;
  /** Where the weights to evaluate are not those that are trained: writes them into vectors of the groups' sizes. */
  readonly writeEvaluationWeights?: ((into: readonly Float32Array[]) => Promise<void>) | undefined;
}

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

/** @param memory of parameters and gradients @param coder where the tensor is held as codes */
export const createStoredTensor = (size: number, memory: VectorMemory, coder: BlockCoder | undefined): StoredTensor =>
  coder ? createEncoded(size, coder) : createPlain(memory.vector(size));

function createPlain(memory: Float32Array): StoredTensor {
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

/** What an optimizer remembers after one more step; as float32, so that a resumed run reads exactly what was there. */
export function rememberNext(
  optimizer: Optimizer,
  config: unknown,
  { before, ...at }: { readonly before: Scalars; readonly step: number; readonly learningRate: number },
): Scalars {
  const next = optimizer.remember?.(config, before, at) ?? {};
  return Object.fromEntries(Object.entries(next).map(([name, value]) => [name, Math.fround(value)]));
}

/** What it remembered when this state was saved. */
export const rememberedIn = (saved: OptimizerState): Scalars =>
  Object.fromEntries([...saved].flatMap(([name, part]) => (name.startsWith("memory.") ? [[name.slice("memory.".length), part[0]!]] : [])));

const isBytes = (part: Float32Array | Uint8Array): boolean => part instanceof Uint8Array;
const kindOf = (part: Float32Array | Uint8Array): string => (isBytes(part) ? "uint8" : "float32");

/** @throws CheckpointError if the part is missing in what was saved, or is of another size */
export function restorePart(name: string, { part, saved }: { part: Float32Array | Uint8Array; saved: OptimizerState }): void {
  const found = saved.get(name);
  if (!found || found.length !== part.length || isBytes(found) !== isBytes(part)) {
    const what = found ? `has ${found.length} elements of ${kindOf(found)}` : "is missing";
    throw new CheckpointError(
      `optimizer state "${name}" ${what}; expected ${part.length} of ${kindOf(part)}. The checkpoint was written with another optimizer or another method; resume with those, or start a new run.`,
    );
  }
  part.set(found as never);
}
