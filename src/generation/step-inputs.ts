/** What the blocks read beside hidden states when rows of different lengths go on with new tokens: masks, positions, tables. */
import type { HostTensor } from "../backends/backend.ts";
import { splitDistances } from "../execution/batch-context.ts";
import { maskInput, rotaryInputs, rotaryKinds } from "../models/decoding-blocks.ts";
import { computeRotaryTables, type RotaryConfig, type RotaryTables } from "../models/layers/rotary.ts";
import type { MaskKind, Model, RelativeBias } from "../models/model.ts";

export interface StepLayout {
  /** Tokens that each row has already, its positions 0 and on. */
  readonly lengths: readonly number[];
  /** New tokens of each row; T is the largest. */
  readonly counts: readonly number[];
  /** Slots of each row in the cache. */
  readonly capacity: number;
}

const hidden = -1e9;

/** Additive, [B, 1, 1, T, capacity + T]: a query sees the tokens of its own row up to itself, or only the nearest of them. */
function stepMask({ lengths, counts, capacity }: StepLayout, { slidingWindow = Number.POSITIVE_INFINITY }: MaskKind): HostTensor {
  const T = Math.max(...counts);
  const width = capacity + T;
  const data = new Float32Array(lengths.length * T * width).fill(hidden);
  for (const [row, length] of lengths.entries()) {
    // Queries beyond a row's count see something too; nobody reads what comes of it.
    for (let t = 0; t < T; t++) {
      const at = (row * T + t) * width;
      data.fill(0, at + Math.max(0, length + t - slidingWindow + 1), at + length);
      data.fill(0, at + capacity + Math.max(0, t - slidingWindow + 1), at + capacity + t + 1);
    }
  }
  return { dtype: "float32", dims: [lengths.length, 1, 1, T, width], data };
}

/** The masks of every kind that occurs in the layers, by input name. */
export function stepMasks(layout: StepLayout, model: Model): Record<string, HostTensor> {
  const masks: Record<string, HostTensor> = {};
  for (let layer = 0; layer < model.numHiddenLayers; layer++) {
    const kind = model.maskKind(layer);
    masks[maskInput(kind)] ??= stepMask(layout, kind);
  }
  return masks;
}

/** Position of each new token, [B, T]. */
export function stepPositions({ lengths, counts }: Pick<StepLayout, "lengths" | "counts">, highest: number): HostTensor {
  const T = Math.max(...counts);
  // Padding behind a row's end must still be a row of the tables.
  const data = BigInt64Array.from({ length: lengths.length * T }, (_, i) =>
    BigInt(Math.min(lengths[Math.floor(i / T)]! + (i % T), highest)),
  );
  return { dtype: "int64", dims: [lengths.length, T], data };
}

/**
 * Buckets of distances along the diagonals of T queries against the slots of the cache and the new tokens, [2 T + capacity],
 * for the position bias (`models/segments.ts`). Between the two lies room without tokens, so distances are those of positions, not of places.
 * Rows must have equal lengths, and the cache room for the new tokens.
 */
export function stepDistances({ lengths, counts, capacity }: StepLayout, { bucketOf }: RelativeBias): Record<string, HostTensor> {
  const [T, length] = [Math.max(...counts), lengths[0]!];
  const data = BigInt64Array.from({ length: 2 * T + capacity }, (_, i) => {
    const diagonal = i - (T - 1);
    return BigInt(bucketOf(diagonal > capacity - T ? Math.min(0, diagonal - capacity) : diagonal - length));
  });
  return splitDistances(data, T);
}

/** Rotary tables that grow with the text. They are made anew only where the angles of a position have changed, as scalings that depend on the length do. */
export class GrowingRotaryTables {
  readonly #tables: { readonly config: RotaryConfig; tables: RotaryTables }[];

  constructor(model: Model) {
    this.#tables = rotaryKinds(model).map((config) => ({ config, tables: computeRotaryTables(config, { length: 2, sequenceLength: 2 }) }));
  }

  /** For positions 0..length - 1. */
  inputs(length: number): Record<string, HostTensor> {
    const inputs: Record<string, HostTensor> = {};
    for (const [kind, held] of this.#tables.entries()) {
      const first = computeRotaryTables(held.config, { length: 2, sequenceLength: length });
      if (held.tables.cos.length < length * first.half || !sameAngles(first, held.tables))
        held.tables = computeRotaryTables(held.config, { length: 2 * length, sequenceLength: length });
      const { cos, sin, half } = held.tables;
      const dims = [cos.length / half, half];
      const names = rotaryInputs(kind);
      inputs[names.cos] = { dtype: "float32", dims, data: cos };
      inputs[names.sin] = { dtype: "float32", dims, data: sin };
    }
    return inputs;
  }
}

const sameAngles = (first: RotaryTables, tables: RotaryTables): boolean =>
  first.cos.every((value, i) => value === tables.cos[i]) && first.sin.every((value, i) => value === tables.sin[i]);
