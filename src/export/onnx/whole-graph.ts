/**
 * What graphs of whole models are made with: all layers of a stack in one graph, whose inputs, outputs and named sizes are
 * those of the field's ONNX exports (Hugging Face Optimum's names, which transformers.js reads). Parameters are inputs
 * under their names in the checkpoint.
 */
import { positionBias } from "../../models/layers/relative-bias.ts";
import { computeRotaryTables, type RotaryConfig, shortRotaryLength } from "../../models/layers/rotary.ts";
import type { EmbeddingInput, EncoderOutput, KeyValues, MaskKind, Model, RelativeBias, Stack } from "../../models/model.ts";
import { type ModelHooks, type ParameterSpec, SegmentBuilder } from "../../models/segment-builder.ts";
import type { ParameterStorage } from "../../models/storage.ts";
import { Graph, type TensorType, type Value } from "../../tensor/graph.ts";
import {
  cast,
  constant,
  equal,
  gather,
  greaterOrEqual,
  less,
  logicalAnd,
  range,
  reduceMax,
  reshape,
  slice,
  sub,
  where,
} from "../../tensor/ops/index.ts";
import { addDims, type Dim, dim, subtractDims } from "../../tensor/shape.ts";

/** transformers.js fills a size of this name with the number of rows, and others of a cache with 0. */
export const batchSize: Dim = dim("batch_size");

/** Rotary tables stand in the file, so contexts beyond this are not offered. */
const longestTable = 32_768;

export interface WholeGraphOptions {
  readonly model: Model;
  readonly hooks: readonly ModelHooks[];
  storageOf(parameter: string): ParameterStorage;
}

/** Numbers that stand in the file and are no parameter of the checkpoint. */
export interface Table {
  readonly dims: readonly number[];
  readonly data: Float32Array | BigInt64Array;
}

export interface WholeGraph {
  readonly graph: Graph;
  /** Graph input -> parameter. */
  readonly parameters: ReadonlyMap<string, ParameterSpec>;
  /** By graph input. */
  readonly tables: ReadonlyMap<string, Table>;
}

/** Keys and values of earlier tokens, and where those of all go. */
export interface StackCache {
  /** P. */
  readonly tokens: Dim;
  past(layer: number): KeyValues;
  present(layer: number, present: KeyValues): void;
}

export interface StackInput {
  readonly stack: Stack;
  /** int64 [B, T]. */
  readonly tokens: EmbeddingInput;
  /** int64 [B, P + T]: 1 where a token stands, 0 for padding. There is no padding where absent. */
  readonly attentionMask?: Value;
  readonly cache?: StackCache;
  /** What the encoder of an encoder-decoder made, for one layer. */
  encoded?(build: SegmentBuilder, layer: number): EncoderOutput;
}

export class WholeGraphBuilder implements WholeGraph {
  readonly graph = new Graph();
  readonly parameters = new Map<string, ParameterSpec>();
  readonly tables = new Map<string, Table>();
  readonly #options: WholeGraphOptions;

  constructor(options: WholeGraphOptions) {
    this.#options = options;
  }

  int64(name: string, shape: readonly Dim[]): Value {
    return this.graph.input(name, { dtype: "int64", shape });
  }

  /** One segment of the model. @param prefix of the names of its parameters */
  segment<Result>(prefix: string, write: (build: SegmentBuilder) => Result): Result {
    const { hooks, storageOf } = this.#options;
    const shared = { graph: this.graph, inputName: (name: string) => name };
    const build = new SegmentBuilder({ prefix, hooks, storageOf, isTraining: false, shared });
    const result = write(build);
    for (const [name, spec] of build.parameters) this.parameters.set(name, spec);
    return result;
  }

  /** Embedding and all blocks. @returns hidden [B, T, C] */
  stack({ stack, tokens, attentionMask, cache, encoded }: StackInput): Value {
    const { positionIds } = tokens;
    const T = tokens.inputIds.shape[1]!;
    const sizes = { queries: T, keys: addDims(cache?.tokens ?? 0, T) };
    const rotaryOf = this.#rotaryTables(stack, positionIds);
    const masks = new Map<string, Value>();
    const maskOf = (kind: MaskKind): Value => {
      const key = JSON.stringify(kind);
      masks.set(key, masks.get(key) ?? maskOfKind(this.graph, { ...sizes, kind, attentionMask }));
      return masks.get(key)!;
    };
    const biases = stack.relativeBias && this.#positionBias(stack, sizes);
    let hidden = this.segment("", (build) => stack.embed(build, tokens));
    for (let layer = 0; layer < stack.numHiddenLayers; layer++) {
      const rotary = rotaryOf(stack.rotary?.(layer));
      const output = this.segment(stack.blockPrefix(layer), (build) =>
        stack.block(build, {
          ...{ layer, hidden, positionIds, masks: [maskOf(stack.maskKind(layer))] },
          ...(rotary && { rotary }),
          ...(biases && { positionBias: biases }),
          ...(cache && { past: cache.past(layer) }),
          ...(encoded && { encoded: encoded(build, layer) }),
        }),
      );
      cache?.present(layer, output.present);
      hidden = output.hidden;
    }
    return hidden;
  }

  #table(name: string, table: Table): Value {
    const type: TensorType = { dtype: table.data instanceof Float32Array ? "float32" : "int64", shape: table.dims };
    this.tables.set(name, table);
    return this.graph.input(name, type);
  }

  /** The tables of each kind of rotary positions, made when the first layer asks for them. */
  #rotaryTables(stack: Stack, positionIds: Value): (config: RotaryConfig | undefined) => { cos: Value; sin: Value } | undefined {
    const length = Math.min(stack.maxPositionEmbeddings, longestTable);
    const made = new Map<RotaryConfig, { cos: Value; sin: Value }>();
    return (config) => {
      if (!config || made.has(config)) return config && made.get(config);
      const short = shortRotaryLength(config) ?? length;
      const kinds = [...new Set([Math.min(short, length), length])].map((sequenceLength) =>
        computeRotaryTables(config, { length, sequenceLength }),
      );
      const { half } = kinds[0]!;
      const isLong = kinds.length > 1 && reachesPosition(positionIds, short);
      const name = `rotary.${made.size === 0 ? "" : `${made.size}.`}`;
      const table = (part: "cos" | "sin"): Value => {
        const data = new Float32Array(kinds.length * length * half);
        for (const [kind, tables] of kinds.entries()) data.set(tables[part], kind * length * half);
        if (!isLong) return this.#table(`${name}${part}`, { dims: [length, half], data });
        return reshape(gather(this.#table(`${name}${part}`, { dims: [2, length * half], data }), isLong), [length, half]);
      };
      made.set(config, { cos: table("cos"), sin: table("sin") });
      return made.get(config);
    };
  }

  #positionBias(stack: Stack, sizes: Sizes): Value[] {
    const distanceBuckets = this.#distanceBuckets(stack.relativeBias!, sizes);
    return this.segment("", (build) => positionBias(build, { stack, chunks: 1, ...sizes, distanceBuckets }));
  }

  /** As `distanceBuckets` in layers/relative-bias.ts, int64 [T + S]: from a table of the near distances, whose ends hold for all beyond. */
  #distanceBuckets({ bucketOf, farthestDistance: far }: RelativeBias, { queries, keys }: Sizes): Value {
    const { graph } = this;
    const int64 = (value: number): Value => constant(graph, value, "int64");
    const data = BigInt64Array.from({ length: 2 * far + 1 }, (_, i) => BigInt(bucketOf(i - far)));
    const name = this.tables.has("distance_buckets") ? "decoder_distance_buckets" : "distance_buckets";
    const table = this.#table(name, { dims: [data.length], data });
    const lastKey = slice(range(graph, keys), 0, { start: subtractDims(keys, 1), size: 1 });
    const distance = sub(range(graph, addDims(queries, keys)), lastKey);
    const notBelow = where(less(distance, int64(-far)), int64(-far), distance);
    return gather(table, sub(where(less(int64(far), notBelow), int64(far), notBelow), int64(-far)));
  }
}

/** int64, of no dimensions: 1 if a token stands at this position or behind it, else 0. */
function reachesPosition(positionIds: Value, position: number): Value {
  const { graph } = positionIds;
  const farthest = cast(reduceMax(cast(positionIds, "float32"), [0, 1]), "int64");
  const int64 = (value: number): Value => constant(graph, value, "int64");
  return where(less(farthest, int64(position)), int64(0), int64(1));
}

interface Sizes {
  /** T. */
  readonly queries: Dim;
  /** S, of which the queries' own tokens are the last. */
  readonly keys: Dim;
}

interface MaskOptions extends Sizes {
  readonly kind: MaskKind;
  /** int64 [B, S]. */
  readonly attentionMask: Value | undefined;
}

/** Additive mask that broadcasts to [B, 1, 1, T, S]: a query sees the tokens that its kind of attention does. */
function maskOfKind(graph: Graph, { queries, keys, kind, attentionMask }: MaskOptions): Value {
  const { isBidirectional, slidingWindow } = kind;
  const places = range(graph, keys);
  const query = reshape(slice(places, 0, { start: subtractDims(keys, queries), size: queries }), [1, 1, 1, queries, 1]);
  const key = reshape(places, [1, 1, 1, 1, keys]);
  const seen: Value[] = attentionMask ? [isToken(attentionMask)] : [];
  if (!isBidirectional) seen.push(greaterOrEqual(query, key));
  if (slidingWindow !== undefined) {
    const window = constant(graph, slidingWindow, "int64");
    seen.push(less(sub(query, key), window));
    if (isBidirectional) seen.push(less(sub(key, query), window));
  }
  return additive(seen.reduce(logicalAnd));
}

/** attentionMask int64 [B, S] -> additive mask that hides padding [B, 1, 1, 1, S]. */
export const paddingMask = (attentionMask: Value): Value => additive(isToken(attentionMask));

const isToken = (attentionMask: Value): Value => {
  const [B, S] = attentionMask.shape as [Dim, Dim];
  return reshape(equal(attentionMask, constant(attentionMask.graph, 1, "int64")), [B, 1, 1, 1, S]);
};
const additive = (visible: Value): Value => where(visible, constant(visible.graph, 0), constant(visible.graph, -1e9));
