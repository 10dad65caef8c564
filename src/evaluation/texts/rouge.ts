/**
 * What the ROUGE metrics share: F1 of a written text against a reference, mean over texts. Lin 2004,
 * https://aclanthology.org/W04-1013; as Google's rouge-score, with its stemmer where that is asked for. Only a to z and digits
 * make words, so that texts in other scripts score 0.
 */
import { byItem } from "../task-metrics/by-item.ts";
import type { ScoresOf, TextItem } from "../task-metrics/task-metric.ts";
import { stem } from "./porter-stemmer.ts";
import { commonNgrams, countNgrams, numNgrams } from "./words.ts";

const rougeWords = (text: string): string[] =>
  text
    .toLowerCase()
    .split(/[^a-z0-9]+/)
    .filter((word) => word !== "");

/** rouge-score leaves words of three letters and fewer as they are. */
const rougeStems = (text: string): string[] => rougeWords(text).map((word) => (word.length > 3 ? stem(word) : word));

type Overlap = (texts: { readonly predicted: string; readonly actual: string }, wordsOf: (text: string) => string[]) => number;

/** Mean over texts of the F1 against the reference that is nearest. */
export function meanRouge(f1: Overlap): (scores: ScoresOf<"texts">) => number {
  const bestWith = (wordsOf: (text: string) => string[]) =>
    byItem(({ predicted, actual }: TextItem) => Math.max(...actual.map((one) => f1({ predicted, actual: one }, wordsOf))));
  const [ofWords, ofStems] = [bestWith(rougeWords), bestWith(rougeStems)];
  return ({ items, rougeStemmer }) => {
    const best = rougeStemmer ? ofStems : ofWords;
    return items.reduce((sum, item) => sum + best(item), 0) / items.length;
  };
}

function f1Of(common: number, { predicted, actual }: { predicted: number; actual: number }): number {
  const [precision, recall] = [common / Math.max(predicted, 1), common / Math.max(actual, 1)];
  return common === 0 ? 0 : (2 * precision * recall) / (precision + recall);
}

/** Of n-grams in common. */
export const ngramF1 =
  (n: number): Overlap =>
  ({ predicted, actual }, wordsOf) => {
    const [said, right] = [wordsOf(predicted), wordsOf(actual)];
    const common = commonNgrams(countNgrams(said, n), countNgrams(right, n));
    return f1Of(common, { predicted: numNgrams(said.length, n), actual: numNgrams(right.length, n) });
  };

/** Of the longest common subsequence of words. */
export const subsequenceF1: Overlap = ({ predicted, actual }, wordsOf) => {
  const [said, right] = [wordsOf(predicted), wordsOf(actual)];
  return f1Of(commonSubsequence(right, said).length, { predicted: said.length, actual: right.length });
};

/** Of summaries, line by line: a line of the reference counts the words that it has in common with any line. */
export const summaryF1: Overlap = ({ predicted, actual }, wordsOf) => {
  const [said, right] = [predicted, actual].map((text) => text.split("\n").map(wordsOf)) as [string[][], string[][]];
  const [left, wanted] = [countNgrams(said.flat(), 1), countNgrams(right.flat(), 1)];
  let hits = 0;
  for (const line of right) {
    const places = new Set(said.flatMap((other) => commonSubsequence(line, other)));
    for (const word of [...places].map((place) => line[place]!)) {
      // A word is found no more often than it stands in either text.
      if (!left.get(word) || !wanted.get(word)) continue;
      hits++;
      for (const counts of [left, wanted]) counts.set(word, counts.get(word)! - 1);
    }
  }
  return f1Of(hits, { predicted: said.flat().length, actual: right.flat().length });
};

/** Places in `words` of a longest subsequence that `others` has too; of several the one that rouge-score takes. */
function commonSubsequence(words: readonly string[], others: readonly string[]): number[] {
  const width = others.length + 1;
  const longest = new Int32Array((words.length + 1) * width);
  for (let i = 1; i <= words.length; i++)
    for (let j = 1; j < width; j++)
      longest[i * width + j] =
        words[i - 1] === others[j - 1]
          ? longest[(i - 1) * width + j - 1]! + 1
          : Math.max(longest[(i - 1) * width + j]!, longest[i * width + j - 1]!);
  const places: number[] = [];
  for (let i = words.length, j = others.length; i > 0 && j > 0; ) {
    if (words[i - 1] === others[j - 1]) {
      places.push(i - 1);
      i--;
      j--;
    } else if (longest[i * width + j - 1]! > longest[(i - 1) * width + j]!) j--;
    else i--;
  }
  return places.reverse();
}
