/** What every block of a model reads beside its hidden state: positions, rotary tables, attention masks, and what a position bias is made from. Made once for a batch. */
import type { HostTensor, Tensor } from "../backends/backend.ts";
import { distanceBuckets } from "../models/layers/relative-bias.ts";
import { computeRotaryTables, type RotaryConfig } from "../models/layers/rotary.ts";
import type { MaskKind, Stack } from "../models/model.ts";
import { buildCrossMasks, buildMasks, pastTokensDim } from "../models/segments.ts";
import type { Graph } from "../tensor/graph.ts";
import type { SegmentExecutable } from "./pass-memory.ts";

export interface SequenceLayout {
  readonly batchSize: number;
  readonly tokens: number;
  /** Documents and positions of the queries, [B * T]. */
  readonly documentIds: Int32Array;
  readonly positionIds: Int32Array;
  /** The same for keys of earlier tokens, [B * past], when decoding with a cache or behind a prefix. */
  readonly past?: PastLayout;
  /** The encoder's tokens [B * S], where the stack attends to them. */
  readonly encoder?: { readonly tokens: number; readonly documentIds: Int32Array };
}

export interface PastLayout {
  readonly tokens: number;
  readonly documentIds: Int32Array;
  readonly positionIds: Int32Array;
  /** The number is the same in every batch, so graphs are compiled for it. */
  readonly isPrefix?: boolean;
}

export type BlockContext = (layer: number) => Record<string, Tensor>;

/** Where the masks are made, and stay. */
export type CompileMasks = (graph: Graph, options: { readonly name: string }) => Promise<SegmentExecutable>;

/** Longest sequence that has one chunk of queries; longer ones are cut into chunks of about this size. */
const chunkTokens = 128;
const maxChunks = 16;

/** The number of query chunks for a sequence: the largest power of two that divides it and leaves chunks of 128 tokens or more. */
export function chooseChunks(tokens: number): number {
  let chunks = 1;
  while (chunks < maxChunks && tokens % (2 * chunks) === 0 && tokens / (2 * chunks) >= chunkTokens) chunks *= 2;
  return chunks;
}

export class BatchContexts {
  readonly #stack: Stack;
  readonly #compileMasks: CompileMasks;
  readonly #executables = new Map<string, Promise<SegmentExecutable>>();

  constructor(stack: Stack, compileMasks: CompileMasks) {
    this.#stack = stack;
    this.#compileMasks = compileMasks;
  }

  async create(layout: SequenceLayout, chunks: number): Promise<BlockContext> {
    const positionIds = int64(layout.positionIds, [layout.batchSize, layout.tokens]);
    const shared: Record<string, Tensor> = {
      positionIds,
      ...this.#distances(layout),
      ...this.#tokenWeights(layout),
      ...(await this.#crossMasks(layout, chunks)),
    };
    const masks = new Map<string, Record<string, Tensor>>();
    const rotary = new Map<RotaryConfig | undefined, Record<string, HostTensor>>([[undefined, {}]]);
    for (let layer = 0; layer < this.#stack.numHiddenLayers; layer++) {
      const kind = this.#stack.maskKind(layer);
      if (!masks.has(maskKey(kind))) masks.set(maskKey(kind), await this.#masks({ layout, chunks, kind, positionIds }));
      const turning = this.#stack.rotary?.(layer);
      if (turning && !rotary.has(turning)) rotary.set(turning, this.#rotary(turning, layout));
    }
    return (layer) => ({
      ...shared,
      ...rotary.get(this.#stack.rotary?.(layer)),
      ...masks.get(maskKey(this.#stack.maskKind(layer))),
    });
  }

  #rotary(config: RotaryConfig, layout: SequenceLayout): Record<string, HostTensor> {
    const sequenceLength = highest(layout.positionIds) + 1;
    // ONNX Runtime wants a row for each token of the batch, even where positions start again.
    const { cos, sin, half } = computeRotaryTables(config, { length: Math.max(sequenceLength, layout.tokens), sequenceLength });
    const dims = [cos.length / half, half];
    return { rotaryCos: { dtype: "float32", dims, data: cos }, rotarySin: { dtype: "float32", dims, data: sin } };
  }

  #distances({ tokens, past }: SequenceLayout): Record<string, HostTensor> {
    const { relativeBias } = this.#stack;
    if (!relativeBias) return {};
    const buckets = distanceBuckets({ queries: tokens, keys: tokens + (past?.tokens ?? 0) }, relativeBias.bucketOf);
    return splitDistances(BigInt64Array.from(buckets, BigInt), tokens);
  }

  /** What the sums over a router's choices count: padding does not. */
  #tokenWeights({ batchSize, tokens, documentIds }: SequenceLayout): Record<string, HostTensor> {
    if (!this.#stack.routing) return {};
    return {
      tokenWeights: { dtype: "float32", dims: [batchSize, tokens], data: Float32Array.from(documentIds, (id) => (id < 0 ? 0 : 1)) },
    };
  }

  async #masks({ layout, chunks, kind, positionIds }: MaskRequest): Promise<Record<string, Tensor>> {
    const past = layout.past ? (layout.past.isPrefix ? layout.past.tokens : pastTokensDim) : 0;
    const key = `${maskKey(kind)}/${chunks}/${past}`;
    const executable = this.#compile(`masks ${key}`, () => buildMasks({ chunks, past, kind }));
    const dims = [layout.batchSize, layout.tokens];
    const documentIds = int64(layout.documentIds, dims);
    const keyDims = [layout.batchSize, layout.tokens + (layout.past?.tokens ?? 0)];
    const keyDocumentIds = layout.past ? int64(joinRows(layout, layout.past.documentIds, layout.documentIds), keyDims) : documentIds;
    const keyPositionIds = layout.past ? int64(joinRows(layout, layout.past.positionIds, layout.positionIds), keyDims) : positionIds;
    return (await executable).run({ documentIds, positionIds, keyDocumentIds, keyPositionIds });
  }

  async #crossMasks({ encoder, ...layout }: SequenceLayout, chunks: number): Promise<Record<string, Tensor>> {
    if (!encoder) return {};
    const executable = this.#compile(`cross masks ${chunks}`, () => buildCrossMasks({ chunks }));
    return (await executable).run({
      documentIds: int64(layout.documentIds, [layout.batchSize, layout.tokens]),
      keyDocumentIds: int64(encoder.documentIds, [layout.batchSize, encoder.tokens]),
    });
  }

  #compile(name: string, build: () => Graph): Promise<SegmentExecutable> {
    const executable = this.#executables.get(name) ?? this.#compileMasks(build(), { name });
    this.#executables.set(name, executable);
    return executable;
  }
}

/** Buckets of T queries and S keys as the graph of a position bias reads them: those of keys in front of the queries' own apart. @param buckets [T + S] */
export function splitDistances(buckets: BigInt64Array, queries: number): Record<string, HostTensor> {
  const past = buckets.length - 2 * queries;
  const part = (data: BigInt64Array): HostTensor => ({ dtype: "int64", dims: [data.length], data });
  return { pastBuckets: part(buckets.slice(0, past)), distanceBuckets: part(buckets.slice(past)) };
}

interface MaskRequest {
  readonly layout: SequenceLayout;
  readonly chunks: number;
  readonly kind: MaskKind;
  readonly positionIds: HostTensor;
}

const maskKey = ({ isBidirectional, slidingWindow }: MaskKind): string =>
  `${isBidirectional ? "bidirectional" : "causal"}, window ${slidingWindow ?? "none"}`;

export function int64(values: Int32Array, dims: readonly number[]): HostTensor {
  return { dtype: "int64", dims, data: BigInt64Array.from(values, BigInt) };
}

function highest(values: Int32Array): number {
  let max = 0;
  for (const value of values) if (value > max) max = value;
  return max;
}

/** [B, past] and [B, T] side by side, [B, past + T]. */
function joinRows({ batchSize, tokens, past }: SequenceLayout, before: Int32Array, after: Int32Array): Int32Array {
  const width = past!.tokens + tokens;
  const joined = new Int32Array(batchSize * width);
  for (let b = 0; b < batchSize; b++) {
    joined.set(before.subarray(b * past!.tokens, (b + 1) * past!.tokens), b * width);
    joined.set(after.subarray(b * tokens, (b + 1) * tokens), b * width + past!.tokens);
  }
  return joined;
}
