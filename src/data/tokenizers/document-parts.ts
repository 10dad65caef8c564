/** Documents of parts whose tokens must be found again: words with their tags, a context with its answer. */
import type { Tokenizer } from "./tokenizer.ts";

type Encoder = Pick<Tokenizer, "encode" | "encodeDocument">;

/** What a checkpoint puts around the tokens of a text. */
export interface Frame {
  readonly before: readonly number[];
  readonly after: readonly number[];
}

/** The same around a second text behind a first. `typeIds` of the first and the second text and of what follows each. */
export interface PairFrame extends Frame {
  readonly between: readonly number[];
  readonly firstTypeId: number;
  readonly secondTypeId: number;
}

/** Special tokens of a single text. */
export function frameOf(tokenizer: Encoder): Frame {
  const word = tokenizer.encode("a");
  const { ids } = tokenizer.encodeDocument("a");
  const at = indexOf(ids, word, 0);
  return { before: ids.slice(0, at), after: ids.slice(at + word.length) };
}

/** Special tokens of two texts. */
export function pairFrameOf(tokenizer: Encoder): PairFrame {
  const word = tokenizer.encode("a");
  const { ids, typeIds } = tokenizer.encodeDocument("a", "a");
  const first = indexOf(ids, word, 0);
  const second = indexOf(ids, word, first + word.length);
  return {
    before: ids.slice(0, first),
    between: ids.slice(first + word.length, second),
    after: ids.slice(second + word.length),
    firstTypeId: typeIds[first]!,
    secondTypeId: typeIds[second]!,
  };
}

/** Token ids of each word of a sentence, by what the tokenizer makes of a space in front: as `is_split_into_words` in transformers (with `add_prefix_space` where there is one). */
export function encodeWords(tokenizer: Encoder, words: readonly string[]): number[][] {
  const whole = tokenizer.encode("a a");
  const second = whole.slice(tokenizer.encode("a").length);
  const isJoined = equal(second, tokenizer.encode(" a")) && !equal(second, tokenizer.encode("a"));
  return words.map((word) => tokenizer.encode(isJoined ? ` ${word}` : word));
}

const equal = (a: readonly number[], b: readonly number[]): boolean => a.length === b.length && a.every((id, i) => id === b[i]);

/** Where a run of ids stands in another, from `start` on; at `start` where it does not stand whole. */
export function indexOf(ids: readonly number[], part: readonly number[], start: number): number {
  for (let at = start; at + part.length <= ids.length; at++) if (part.every((id, i) => ids[at + i] === id)) return at;
  return start;
}
