/**
 * Keys and values of the tokens so far, for a batch of rows: one buffer for each layer, [rows, H, capacity, D]. A row's tokens
 * stand from slot 0 on without gaps, so that a token's slot is its position; the rest of its slots is room. Nothing is copied
 * for a token but itself; the buffers grow by a quarter when a row is full.
 */
import type { HostTensor } from "../backends/backend.ts";

export interface CacheShape {
  readonly layers: number;
  /** H. */
  readonly heads: number;
  /** D. */
  readonly headDim: number;
}

export interface LayerKeyValues {
  /** [rows, H, tokens, D]. */
  readonly key: HostTensor;
  readonly value: HostTensor;
}

type Kind = keyof LayerKeyValues;
const kinds: readonly Kind[] = ["key", "value"];

/** Slots are added in multiples of this. */
const slotMultiple = 64;

export class KeyValueCache {
  readonly #shape: CacheShape;
  #buffers: Record<Kind, Float32Array>[] = [];
  #capacity = 0;
  #lengths: number[] = [];

  constructor(shape: CacheShape) {
    this.#shape = shape;
  }

  /** Tokens of each row. */
  get lengths(): readonly number[] {
    return this.#lengths;
  }

  /** Slots of each row. */
  get capacity(): number {
    return this.#capacity;
  }

  /** Begins with new rows, each holding what stands in front of every text: for each layer [1, H, tokens, D]. */
  begin(rows: number, front: readonly LayerKeyValues[]): void {
    const tokens = front[0]?.key.dims[2] ?? 0;
    this.#capacity = 0;
    this.#buffers = [];
    this.#lengths = Array.from({ length: rows }, () => 0);
    this.reserve(tokens);
    for (const [layer, { key, value }] of front.entries())
      for (let row = 0; row < rows; row++) this.#write({ layer, row, slot: 0, from: { key, value }, fromRow: 0, tokens });
    this.#lengths.fill(tokens);
  }

  /** Room for this many tokens in every row. */
  reserve(tokens: number): void {
    if (tokens <= this.#capacity && this.#buffers.length > 0) return;
    const grown = slotMultiple * Math.ceil(Math.max(tokens, 1.25 * this.#capacity, 1) / slotMultiple);
    this.#move(grown, [...this.#lengths.keys()]);
  }

  /** Behind what each row has, its first `counts[row]` of the new tokens, which every layer gives [rows, H, T, D]. */
  append(layers: readonly LayerKeyValues[], counts: readonly number[]): void {
    for (const [layer, from] of layers.entries())
      for (const [row, tokens] of counts.entries()) this.#write({ layer, row, slot: this.#lengths[row]!, from, fromRow: row, tokens });
    for (const [row, tokens] of counts.entries()) this.#lengths[row]! += tokens;
  }

  /**
   * Row i goes on with what row `parents[i]` held. The first continuation of a row stays where the row is wherever it can, so
   * that only further ones, and rows beyond the new end, are copied.
   * @returns the place of each continuation
   */
  reorder(parents: readonly number[]): number[] {
    const places = placesOf(parents);
    const sources: number[] = [];
    for (const [i, place] of places.entries()) sources[place] = parents[i]!;
    if (sources.length > this.#lengths.length) this.#move(this.#capacity, sources);
    else {
      for (const [row, source] of sources.entries()) if (row !== source) this.#copyRow(source, row);
      this.#lengths = sources.map((source) => this.#lengths[source]!);
    }
    return places;
  }

  /** Keys and values of a layer, [rows, H, capacity, D], in the cache's own memory. */
  read(layer: number): LayerKeyValues {
    const { heads, headDim } = this.#shape;
    const dims = [this.#lengths.length, heads, this.#capacity, headDim];
    const size = this.#lengths.length * this.#rowSize;
    const tensor = (kind: Kind): HostTensor => ({ dtype: "float32", dims, data: this.#buffers[layer]![kind].subarray(0, size) });
    return { key: tensor("key"), value: tensor("value") };
  }

  get #rowSize(): number {
    return this.#shape.heads * this.#capacity * this.#shape.headDim;
  }

  #write({ layer, row, slot, from, fromRow, tokens }: WriteCall): void {
    const { heads, headDim: D } = this.#shape;
    const given = from.key.dims[2]!;
    for (const kind of kinds) {
      const [source, target] = [from[kind].data as Float32Array, this.#buffers[layer]![kind]];
      for (let head = 0; head < heads; head++) {
        const start = (fromRow * heads + head) * given * D;
        target.set(source.subarray(start, start + tokens * D), row * this.#rowSize + (head * this.#capacity + slot) * D);
      }
    }
  }

  #copyRow(source: number, target: number): void {
    const { heads, headDim: D } = this.#shape;
    for (const buffers of this.#buffers) {
      for (const kind of kinds) {
        for (let head = 0; head < heads; head++) {
          const start = source * this.#rowSize + head * this.#capacity * D;
          const to = target * this.#rowSize + head * this.#capacity * D;
          buffers[kind].copyWithin(to, start, start + this.#lengths[source]! * D);
        }
      }
    }
  }

  /** New buffers with rows from the old ones. */
  #move(capacity: number, sources: readonly number[]): void {
    const { layers, heads, headDim: D } = this.#shape;
    const [old, oldSize, oldCapacity] = [this.#buffers, this.#rowSize, this.#capacity];
    const lengths = sources.map((source) => this.#lengths[source]!);
    const rowSize = heads * capacity * D;
    this.#buffers = Array.from({ length: layers }, (_, layer) => {
      const moved = (kind: Kind): Float32Array => {
        const data = new Float32Array(sources.length * rowSize);
        for (const [row, source] of sources.entries()) {
          for (let head = 0; head < heads; head++) {
            const start = source * oldSize + head * oldCapacity * D;
            const used = old[layer]?.[kind].subarray(start, start + lengths[row]! * D);
            if (used) data.set(used, row * rowSize + head * capacity * D);
          }
        }
        return data;
      };
      return { key: moved("key"), value: moved("value") };
    });
    this.#capacity = capacity;
    this.#lengths = lengths;
  }
}

interface WriteCall {
  readonly layer: number;
  readonly row: number;
  readonly slot: number;
  readonly from: LayerKeyValues;
  readonly fromRow: number;
  readonly tokens: number;
}

/** Where continuations stand: the first of a row at the row's own place, if there is such a place; the others on those left over. */
function placesOf(parents: readonly number[]): number[] {
  const taken = new Set<number>();
  const places: (number | undefined)[] = parents.map((parent) => {
    if (parent >= parents.length || taken.has(parent)) return undefined;
    taken.add(parent);
    return parent;
  });
  let free = 0;
  return places.map((place) => {
    if (place !== undefined) return place;
    while (taken.has(free)) free++;
    return free++;
  });
}
