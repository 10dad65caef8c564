/**
 * Spans of a text replaced by sentinels, and the spans behind their sentinels as what is to be written, drawn anew for every
 * epoch. Raffel et al. 2020, section 3.1.4, https://jmlr.org/papers/v21/20-074.html. As in T5's code, lengths are drawn
 * uniformly, kept and hidden spans take turns, and the last one is hidden, so that no sentinel closes the target.
 */
import { createRandom, type Random } from "../base/random.ts";
import type { TokenizedExample } from "./batch.ts";

export interface SpanCorruptionOptions {
  /** Share of the tokens to hide, above 0 to below 1. */
  readonly noiseDensity: number;
  /** Tokens, at least 1. */
  readonly meanNoiseSpanLength: number;
}

export interface CorruptionTokens {
  /** Ids of <extra_id_0>, <extra_id_1> and so on. */
  readonly sentinels: readonly number[];
  /** Behind source and target. */
  readonly eos: number;
  /** The decoder begins with it. */
  readonly start: number;
}

/** The same for the same seed and epoch. @param examples texts in `encoderInputIds`, of at least two tokens */
export function corruptSpans(
  examples: readonly TokenizedExample[],
  { seed, epoch }: { seed: number; epoch: number },
  options: SpanCorruptionOptions & CorruptionTokens,
): TokenizedExample[] {
  const random = createRandom(Math.imul(seed, 3_000_017) + epoch);
  return examples.map(({ encoderInputIds }) => {
    const ids = encoderInputIds!;
    const { hidden, spans } = countNoise(ids.length, options);
    const lengths = { hidden: partition(hidden, spans, random), kept: partition(ids.length - hidden, spans, random) };
    const { source, target } = replaceSpans(ids, lengths, options);
    return { encoderInputIds: source, inputIds: Int32Array.of(options.start, ...target.subarray(0, -1)), labels: target };
  });
}

/** How many tokens of a text are hidden, and in how many spans. @param length at least 2 */
export function countNoise(
  length: number,
  { noiseDensity, meanNoiseSpanLength }: SpanCorruptionOptions,
): { readonly hidden: number; readonly spans: number } {
  const hidden = Math.min(Math.max(roundHalfToEven(length * noiseDensity), 1), length - 1);
  const spans = Math.max(roundHalfToEven(hidden / meanNoiseSpanLength), 1);
  return { hidden, spans: Math.min(spans, length - hidden) };
}

/** Longest text whose source has no more than `maxLength` tokens, sentinels and end included; below 2: there is none. */
export function longestText(maxLength: number, options: SpanCorruptionOptions): number {
  const sourceLength = (length: number): number => {
    const { hidden, spans } = countNoise(length, options);
    return length - hidden + spans + 1;
  };
  let length = 1;
  while (sourceLength(length + 1) <= maxLength) length++;
  return length;
}

/** A number as a sum of positive ones, each way as likely as another. */
export function partition(total: number, parts: number, random: Random): number[] {
  const begins = random.shuffle(Array.from({ length: total - 1 }, (_, i) => i < parts - 1));
  const lengths = [1];
  for (const isBegin of begins) {
    if (isBegin) lengths.push(1);
    else lengths[lengths.length - 1]!++;
  }
  return lengths;
}

export interface SpanLengths {
  /** Each follows the kept span of the same place. */
  readonly hidden: readonly number[];
  readonly kept: readonly number[];
}

/** Source and target of a text, each with its end. */
export function replaceSpans(
  ids: Int32Array,
  { hidden, kept }: SpanLengths,
  { sentinels, eos }: Pick<CorruptionTokens, "sentinels" | "eos">,
): { readonly source: Int32Array; readonly target: Int32Array } {
  const [source, target]: [number[], number[]] = [[], []];
  let at = 0;
  for (const [i, length] of kept.entries()) {
    source.push(...ids.subarray(at, at + length), sentinels[i]!);
    at += length;
    target.push(sentinels[i]!, ...ids.subarray(at, at + hidden[i]!));
    at += hidden[i]!;
  }
  return { source: Int32Array.of(...source, eos), target: Int32Array.of(...target, eos) };
}

/** As numpy and Python round: a half goes to the even neighbour. */
function roundHalfToEven(value: number): number {
  const below = Math.floor(value);
  return value - below === 0.5 ? below + (below % 2) : Math.round(value);
}
