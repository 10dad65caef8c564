/**
 * BLEU over all texts together, 0 to 1 (sacrebleu writes it times 100): sacrebleu's corpus_bleu with 13a tokens and
 * exponential smoothing, its defaults. Papineni et al. 2002, https://aclanthology.org/P02-1040; Post 2018,
 * https://aclanthology.org/W18-6319.
 */

import { overCorpus } from "../texts/corpus-counts.ts";
import { commonNgrams, countNgrams, numNgrams, withoutTrailingSpace, wordsOf } from "../texts/words.ts";
import type { TaskMetric, TextItem } from "./task-metric.ts";

const longest = 4;

export const bleu = {
  name: "bleu",
  logName: "eval_bleu",
  better: "higher",
  kinds: ["texts"],
  compute: overCorpus({ countsOf, scoreOf }),
} as const satisfies TaskMetric<"texts">;

/** Length of the text and of the reference that is nearest in length, then for each n the n-grams that were right, and all. */
function countsOf({ predicted, actual }: TextItem): number[] {
  const said = tokens13a(predicted);
  const references = actual.map(tokens13a);
  const orders = Array.from({ length: longest }, (_, i) => i + 1);
  const right = orders.map((n) => {
    const allowed = new Map<string, number>();
    for (const reference of references)
      for (const [ngram, count] of countNgrams(reference, n)) allowed.set(ngram, Math.max(count, allowed.get(ngram) ?? 0));
    return commonNgrams(countNgrams(said, n), allowed);
  });
  const lengths = references.map(({ length }) => length);
  const nearest = lengths.sort((a, b) => Math.abs(a - said.length) - Math.abs(b - said.length) || a - b)[0]!;
  return [said.length, nearest, ...right, ...orders.map((n) => numNgrams(said.length, n))];
}

function scoreOf(counts: Float64Array): number {
  const [said, reference] = [counts[0]!, counts[1]!];
  const [right, all] = [counts.subarray(2, 2 + longest), counts.subarray(2 + longest)];
  if (right.every((count) => count === 0) || all.includes(0)) return 0;
  let smoothing = 1;
  let logPrecisions = 0;
  for (let i = 0; i < longest; i++) {
    // An order without a match counts as half a match, the next one as a quarter.
    if (right[i] === 0) smoothing /= 2;
    logPrecisions += Math.log((right[i] || smoothing) / all[i]!);
  }
  const brevity = said < reference ? Math.exp(1 - reference / said) : 1;
  return brevity * Math.exp(logPrecisions / longest);
}

/** Tokens of mteval-v13a, made for European languages: punctuation and symbols stand alone, except between digits. */
function tokens13a(text: string): string[] {
  const line = withoutTrailingSpace(text)
    .replaceAll("<skipped>", "")
    .replaceAll("-\n", "")
    .replaceAll("\n", " ")
    .replaceAll("&quot;", '"')
    .replaceAll("&amp;", "&")
    .replaceAll("&lt;", "<")
    .replaceAll("&gt;", ">");
  return wordsOf(
    ` ${line} `
      .replace(/([{-~[-` -&(-+:-@/])/gu, " $1 ")
      .replace(/([^0-9])([.,])/gu, "$1 $2 ")
      .replace(/([.,])([^0-9])/gu, " $1 $2")
      .replace(/([0-9])(-)/gu, "$1 $2 "),
  );
}
