/** What an encoder made of the sources, for the decoder of an encoder-decoder: keys and values for its cross-attention, once for all steps. */
import type { Backend, HostTensor } from "../backends/backend.ts";
import { BatchContexts, int64 } from "../execution/batch-context.ts";
import { crossNames, type LayerRange } from "../models/decoding-blocks.ts";
import type { Stack } from "../models/model.ts";
import type { Program } from "./decoding-programs.ts";

export interface EncoderPrograms {
  readonly embedding: Program;
  /** Where the encoder has a relative bias. */
  readonly positionBias?: Program;
  /** One for each layer. */
  readonly blocks: readonly Program[];
  /** Keys and values for each layer of the decoder. */
  readonly crossKeyValues: readonly Program[];
}

interface Source {
  /** By layer of the decoder, [S, width] without padding. */
  readonly key: readonly Float32Array[];
  readonly value: readonly Float32Array[];
  readonly tokens: number;
}

export class SourceMemory {
  readonly #programs: EncoderPrograms;
  readonly #contexts: BatchContexts;
  #width = 0;
  /** The source of each place. */
  #sources: readonly Source[] = [];
  /** Both joined for the places as they are, by layer; made when they are asked for. */
  #joined: { key: HostTensor; value: HostTensor }[] | undefined;

  constructor({ programs, encoder, backend }: { programs: EncoderPrograms; encoder: Stack; backend: Backend }) {
    this.#programs = programs;
    this.#contexts = new BatchContexts(encoder, backend.compile);
  }

  /** Encodes the source of each place. */
  async begin(sources: readonly (readonly number[])[], adapterIds: readonly number[]): Promise<void> {
    const [B, S] = [sources.length, Math.max(...sources.map((source) => source.length))];
    const padded = (of: (row: readonly number[], t: number) => number): Int32Array =>
      Int32Array.from(sources.flatMap((row) => Array.from({ length: S }, (_, t) => of(row, t))));
    const positionIds = padded((_, t) => t);
    const documentIds = padded((row, t) => (t < row.length ? 0 : -1));
    const context = await this.#contexts.create({ batchSize: B, tokens: S, documentIds, positionIds }, 1);
    const bias = await this.#programs.positionBias?.run(context(0));
    const shared = { adapterIds: int64(Int32Array.from(adapterIds), [B]), ...bias };
    const inputIds = int64(
      padded((row, t) => row[t] ?? 0),
      [B, S],
    );
    let { hidden } = await this.#programs.embedding.run({ inputIds, positionIds: int64(positionIds, [B, S]) });
    for (const [layer, block] of this.#programs.blocks.entries())
      ({ hidden } = await block.run({ ...shared, ...context(layer), hidden: hidden! }));
    const made = sources.map(({ length }) => ({ key: [] as Float32Array[], value: [] as Float32Array[], tokens: length }));
    for (const program of this.#programs.crossKeyValues) {
      const { crossKey, crossValue } = await program.run({ ...shared, encoderHidden: hidden! });
      this.#width = crossKey!.dims[2]!;
      const rowSize = S * this.#width;
      for (const [row, source] of made.entries()) {
        const used = source.tokens * this.#width;
        source.key.push((crossKey!.data as Float32Array).slice(row * rowSize, row * rowSize + used));
        source.value.push((crossValue!.data as Float32Array).slice(row * rowSize, row * rowSize + used));
      }
    }
    this.#sources = made;
    this.#joined = undefined;
  }

  /** @param from the place that each place goes on from */
  reorder(from: readonly number[]): void {
    const sources = from.map((place) => this.#sources[place]!);
    if (sources.length === this.#sources.length && sources.every((source, place) => source === this.#sources[place])) return;
    this.#sources = sources;
    this.#joined = undefined;
  }

  /** For T new tokens of each place: the mask, and keys and values of the layers. */
  inputs({ from, to }: LayerRange, T: number): Record<string, HostTensor> {
    const inputs: Record<string, HostTensor> = { crossMask: this.#mask(T) };
    this.#joined ??= this.#programs.crossKeyValues.map((_, layer) => ({
      key: this.#join(({ key }) => key[layer]!),
      value: this.#join(({ value }) => value[layer]!),
    }));
    for (let layer = from; layer < to; layer++) {
      const names = crossNames(layer - from);
      inputs[names.key] = this.#joined[layer]!.key;
      inputs[names.value] = this.#joined[layer]!.value;
    }
    return inputs;
  }

  get #longest(): number {
    return Math.max(...this.#sources.map(({ tokens }) => tokens));
  }

  /** [B, S, width]. */
  #join(of: (source: Source) => Float32Array): HostTensor {
    const dims = [this.#sources.length, this.#longest, this.#width];
    const data = new Float32Array(dims[0]! * dims[1]! * dims[2]!);
    for (const [place, source] of this.#sources.entries()) data.set(of(source), place * this.#longest * this.#width);
    return { dtype: "float32", dims, data };
  }

  /** Additive, [B, 1, 1, T, S]: padding is hidden. */
  #mask(T: number): HostTensor {
    const [B, S] = [this.#sources.length, this.#longest];
    const data = new Float32Array(B * T * S).fill(-1e9);
    for (const [place, { tokens }] of this.#sources.entries())
      for (let t = 0; t < T; t++) data.fill(0, (place * T + t) * S, (place * T + t) * S + tokens);
    return { dtype: "float32", dims: [B, 1, 1, T, S], data };
  }
}
