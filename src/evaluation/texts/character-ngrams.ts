/**
 * What chrF and chrF++ share: F-score of character n-grams (and of words and their pairs) over all texts together, in which
 * recall counts four times as much as precision. sacrebleu's corpus_chrf. Popović 2015, https://aclanthology.org/W15-3049.
 */
import type { ScoresOf, TextItem } from "../task-metrics/task-metric.ts";
import { overCorpus } from "./corpus-counts.ts";
import { commonNgrams, countNgrams, wordsOf } from "./words.ts";

const characterOrder = 6;
const betaSquared = 4;

/** @param wordOrder longest n-gram of words that counts beside those of characters; 0: none */
export function characterFScore({ wordOrder }: { wordOrder: number }): (scores: ScoresOf<"texts">) => number {
  return overCorpus({ countsOf: (item) => countsOf(item, wordOrder), scoreOf });
}

/** For each order: n-grams of the text, of the reference, and in common. */
function countsOf({ predicted, actual }: TextItem, wordOrder: number): number[] {
  const said = ngramsOf(predicted, wordOrder);
  const against = actual.map((reference) => {
    const right = ngramsOf(reference, wordOrder);
    return said.flatMap((ngrams, i) => {
      // Where the reference is too short to have any, those of the text are no mistakes.
      const there = sumOf(right[i]!);
      return [there === 0 ? 0 : sumOf(ngrams), there, commonNgrams(ngrams, right[i]!)];
    });
  });
  const scores = against.map((counts) => scoreOf(Float64Array.from(counts)));
  return against[scores.indexOf(Math.max(...scores))]!;
}

/** Mean precision and mean recall over the orders that both sides have. */
function scoreOf(counts: Float64Array): number {
  let [precision, recall, orders] = [0, 0, 0];
  for (let i = 0; i < counts.length; i += 3) {
    const [said, right, common] = counts.subarray(i, i + 3) as unknown as [number, number, number];
    if (said === 0 || right === 0) continue;
    precision += common / said;
    recall += common / right;
    orders++;
  }
  if (precision + recall === 0) return 0;
  return ((1 + betaSquared) * precision * recall) / (betaSquared * precision + recall) / orders;
}

function ngramsOf(text: string, wordOrder: number): Map<string, number>[] {
  const words = wordsOf(text);
  const characters = [...words.join("")];
  const parted = words.flatMap(withoutPunctuation);
  return [
    ...Array.from({ length: characterOrder }, (_, i) => countNgrams(characters, i + 1, "")),
    ...Array.from({ length: wordOrder }, (_, i) => countNgrams(parted, i + 1)),
  ];
}

const punctuation = /[!-/:-@[-`{-~]/;

/** A word and the mark behind it, or else the one before it: "(hi)" becomes "(hi" and ")", as in the reference. */
function withoutPunctuation(word: string): string[] {
  const characters = [...word];
  if (characters.length === 1) return [word];
  if (punctuation.test(characters.at(-1)!)) return [word.slice(0, -1), word.slice(-1)];
  return punctuation.test(characters[0]!) ? [word.slice(0, 1), word.slice(1)] : [word];
}

const sumOf = (counts: ReadonlyMap<string, number>): number => [...counts.values()].reduce((sum, count) => sum + count, 0);
