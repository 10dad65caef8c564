/** Runs a model on rows of tokens that go on step by step, with a cache of keys and values. */
import type { Backend, HostTensor } from "../backends/backend.ts";
import { UnsupportedError } from "../base/errors.ts";
import { int64 } from "../execution/batch-context.ts";
import type { ParameterStore } from "../execution/weights/parameter-store.ts";
import type { AttachedMethod } from "../methods/method.ts";
import { cacheNames } from "../models/decoding-blocks.ts";
import type { Model } from "../models/model.ts";
import { compileDecoding } from "./decoding-programs.ts";
import { KeyValueCache, type LayerKeyValues } from "./key-value-cache.ts";
import { SourceMemory } from "./source-memory.ts";
import { GrowingRotaryTables, type StepLayout, stepDistances, stepMasks, stepPositions } from "./step-inputs.ts";

export interface DecoderOptions {
  readonly backend: Backend;
  readonly model: Model;
  readonly method: AttachedMethod;
  readonly store: ParameterStore;
  /**
   * Where weights are while decoding. "shared", the default: in the store, where others may use and change them too. "packed":
   * moved out of the store into the compiled graphs, in float32 and laid out for the products; faster, but nothing else can use
   * the store any more.
   */
  readonly weights?: "shared" | "packed";
}

export interface RowStart {
  /** Which of several stacked adapters acts on the row, counted from 1; 0, the default, is the base alone. */
  readonly adapterId?: number;
  /** What the encoder of an encoder-decoder reads. */
  readonly encoderIds?: readonly number[];
}

export interface Decoder {
  /** Begins anew, with rows that have no tokens yet. */
  prepare(rows: readonly RowStart[]): Promise<void>;
  /**
   * Takes the next tokens of each row: a prompt, then usually one at a time. Rows may get different numbers of them.
   * @returns logits after the last token of each row, [V]
   */
  step(tokens: readonly (readonly number[])[]): Promise<Float32Array[]>;
  /** Row i goes on with what row `parents[i]` held; there may be more or fewer rows than before. */
  reorder(parents: readonly number[]): void;
  /** Tokens that stand in front of every text: the virtual ones of a method. */
  readonly virtualTokens: number;
}

/** A longer prompt is read in pieces, so that attention scores stay small. */
const longestStep = 512;

/** @throws UnsupportedError for a model that does not write text from left to right */
export async function createDecoder(options: DecoderOptions): Promise<Decoder> {
  const { model, method } = options;
  refuseOthers(model);
  const programs = await compileDecoding(options);
  const rotary = new GrowingRotaryTables(model);
  const cache = new KeyValueCache({ layers: model.numHiddenLayers, heads: model.numKeyValueHeads, headDim: model.headDim });
  const virtualTokens = method.virtualTokens?.count ?? 0;
  const placeholders =
    method.virtualTokens?.as === "embeddings" ? Array.from({ length: virtualTokens }, (_, i) => model.vocabSize + i) : [];
  const C = model.hiddenSize;
  const sources = programs.encoder && new SourceMemory({ programs: programs.encoder, encoder: model.encoder!, backend: options.backend });
  /** Where each row stands in the cache, and the adapter at each place. */
  let places: readonly number[] = [];
  let adapterIds: readonly number[] = [];

  /** At most `longestStep` new tokens of each place. @returns hidden state of each place's last one, where it got any */
  async function readTokens(tokens: readonly (readonly number[])[]): Promise<(Float32Array | undefined)[]> {
    const counts = tokens.map((row) => row.length);
    const T = Math.max(...counts);
    const lengths = [...cache.lengths];
    const needed = Math.max(...lengths) + T;
    // Attention also goes over empty slots, so room for the new tokens is made behind it; but see `stepDistances`.
    if (model.relativeBias) cache.reserve(needed);
    const layout: StepLayout = { lengths, counts, capacity: cache.capacity };
    const padded = Int32Array.from(tokens.flatMap((row) => Array.from({ length: T }, (_, t) => row[t] ?? 0)));
    const positionIds = stepPositions(layout, model.maxPositionEmbeddings - 1);
    const shared: Record<string, HostTensor> = {
      ...{ positionIds, adapterIds: int64(Int32Array.from(adapterIds), [adapterIds.length]) },
      ...stepMasks(layout, model),
      ...rotary.inputs(needed),
      ...(model.relativeBias && (await programs.positionBias!.run(stepDistances(layout, model.relativeBias)))),
    };
    let { hidden } = await programs.embedding.run({ inputIds: int64(padded, [tokens.length, T]), positionIds });
    const own: LayerKeyValues[] = [];
    for (const { from, to, run } of programs.blocks) {
      const inputs: Record<string, HostTensor> = { ...shared, ...sources?.inputs({ from, to }, T), hidden: hidden! };
      for (let layer = from; layer < to; layer++) {
        const names = cacheNames(layer - from);
        const { key, value } = cache.read(layer);
        inputs[names.pastKey] = key;
        inputs[names.pastValue] = value;
      }
      const outputs = await run(inputs);
      hidden = outputs.hidden;
      for (let layer = from; layer < to; layer++) {
        const names = cacheNames(layer - from);
        own.push({ key: outputs[names.key]!, value: outputs[names.value]! });
      }
    }
    cache.reserve(needed);
    cache.append(own, counts);
    const data = hidden!.data as Float32Array;
    return counts.map((count, row) => (count === 0 ? undefined : data.slice((row * T + count - 1) * C, (row * T + count) * C)));
  }

  return {
    virtualTokens,
    async prepare(rows) {
      cache.begin(rows.length, programs.front);
      places = rows.map((_, i) => i);
      adapterIds = rows.map(({ adapterId = 0 }) => adapterId);
      await sources?.begin(
        rows.map(({ encoderIds = [] }) => encoderIds),
        adapterIds,
      );
    },
    reorder(parents) {
      const from = parents.map((parent) => places[parent]!);
      const kept = adapterIds;
      places = cache.reorder(from);
      const before = [...places.keys()].map((place) => from[places.indexOf(place)]!);
      adapterIds = before.map((place) => kept[place]!);
      sources?.reorder(before);
    },
    async step(tokens) {
      const isFirst = cache.lengths.every((length) => length === 0);
      const rowAt = [...places.keys()].map((place) => places.indexOf(place));
      const given = rowAt.map((row) => (isFirst ? [...placeholders, ...tokens[row]!] : tokens[row]!));
      const last: Float32Array[] = [];
      for (let start = 0; start < Math.max(...given.map((row) => row.length)); start += longestStep) {
        const hidden = await readTokens(given.map((row) => row.slice(start, start + longestStep)));
        for (const [place, vector] of hidden.entries()) if (vector) last[place] = vector;
      }
      const rows = new Float32Array(given.length * C);
      for (const [row, place] of places.entries()) rows.set(last[place]!, row * C);
      const { logits } = await programs.head.run({ rows: { dtype: "float32", dims: [given.length, C], data: rows } });
      const V = logits!.dims[1]!;
      return places.map((_, row) => (logits!.data as Float32Array).subarray(row * V, (row + 1) * V));
    },
  };
}

function refuseOthers({ modelType, labelHead, maskKind }: Model): void {
  const instead = "Take a model that generates, such as llama or gpt2.";
  if (labelHead) throw new UnsupportedError(`this model has a head for ${labelHead.name}; it labels texts and writes none. ${instead}`);
  if (maskKind(0).isBidirectional)
    throw new UnsupportedError(`${modelType} reads whole texts and predicts hidden tokens; it writes none. ${instead}`);
}
