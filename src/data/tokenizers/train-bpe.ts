/**
 * Trains a byte-level BPE tokenizer (Sennrich et al. 2015, https://arxiv.org/abs/1508.07909) and writes it as tokenizer.json.
 * For small models made from nothing; fine-tuning always keeps the checkpoint's own tokenizer.
 */
import { DataError } from "../../base/errors.ts";

/** GPT-2's way of cutting text into words before merging. */
const wordPattern = /'(?:s|t|re|ve|m|ll|d)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+/gu;

/** GPT-2's printable stand-ins for bytes. */
const byteLetters: readonly string[] = (() => {
  const printable = [...range(33, 126), ...range(161, 172), ...range(174, 255)];
  let next = 256;
  return Array.from({ length: 256 }, (_, byte) => String.fromCodePoint(printable.includes(byte) ? byte : next++));
})();

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from + 1 }, (_, i) => from + i);
}

export interface TrainBpeOptions {
  readonly texts: Iterable<string>;
  /** All tokens: 256 bytes, the special ones, and merges. */
  readonly vocabSize: number;
  readonly specialTokens: readonly string[];
}

/** @returns the content of tokenizer.json
 * @throws DataError if the vocabulary has no room for the bytes and special tokens */
export function trainBpe({ texts, vocabSize, specialTokens }: TrainBpeOptions): Record<string, unknown> {
  const mergeCount = vocabSize - 256 - specialTokens.length;
  if (mergeCount < 0)
    throw new DataError(
      `a vocabulary of ${vocabSize} has no room for 256 bytes and ${specialTokens.length} special tokens; choose at least ${256 + specialTokens.length}.`,
    );
  const words = countWords(texts);
  const merges: [string, string][] = [];
  while (merges.length < mergeCount) {
    const best = mostFrequentPair(words);
    if (!best) break;
    merges.push(best);
    for (const word of words) word.pieces = mergePair(word.pieces, best);
  }
  const tokens = [...specialTokens, ...byteLetters, ...merges.map(([left, right]) => left + right)];
  return {
    version: "1.0",
    truncation: null,
    padding: null,
    added_tokens: specialTokens.map((content, id) => ({
      id,
      content,
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: false,
      special: true,
    })),
    normalizer: null,
    pre_tokenizer: { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true },
    post_processor: { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true },
    decoder: { type: "ByteLevel", add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: {
      ...{
        type: "BPE",
        dropout: null,
        unk_token: null,
        continuing_subword_prefix: null,
        end_of_word_suffix: null,
        fuse_unk: false,
        byte_fallback: false,
      },
      vocab: Object.fromEntries(tokens.map((token, id) => [token, id])),
      merges: merges.map(([left, right]) => `${left} ${right}`),
    },
  };
}

interface CountedWord {
  pieces: string[];
  readonly count: number;
}

function countWords(texts: Iterable<string>): CountedWord[] {
  const counts = new Map<string, number>();
  for (const text of texts) for (const [word] of text.matchAll(wordPattern)) counts.set(word, (counts.get(word) ?? 0) + 1);
  const encoder = new TextEncoder();
  return [...counts].map(([word, count]) => ({ pieces: [...encoder.encode(word)].map((byte) => byteLetters[byte]!), count }));
}

/** Ties go to the pair that sorts first, so that the result does not depend on the order of the texts. */
function mostFrequentPair(words: readonly CountedWord[]): [string, string] | undefined {
  const counts = new Map<string, number>();
  for (const { pieces, count } of words)
    for (let i = 1; i < pieces.length; i++)
      counts.set(`${pieces[i - 1]} ${pieces[i]}`, (counts.get(`${pieces[i - 1]} ${pieces[i]}`) ?? 0) + count);
  let best: string | undefined;
  let most = 1; // a pair that occurs once is not worth a token
  for (const [pair, count] of counts)
    if (count > most || (count === most && best !== undefined && pair < best)) [best, most] = [pair, count];
  return best?.split(" ") as [string, string] | undefined;
}

function mergePair(pieces: readonly string[], [left, right]: readonly [string, string]): string[] {
  const merged: string[] = [];
  for (let i = 0; i < pieces.length; i++) {
    if (pieces[i] === left && pieces[i + 1] === right) merged.push(pieces[i++]! + right);
    else merged.push(pieces[i]!);
  }
  return merged;
}
