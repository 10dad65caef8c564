/** Paired bootstrap intervals for the difference of two models on the same documents. Efron and Tibshirani 1993; Koehn 2004, https://aclanthology.org/W04-3250. */
import { createRandom } from "../base/random.ts";
import { metricsFor } from "./task-metrics/registry.ts";
import type { Scores } from "./task-metrics/task-metric.ts";

/** Losses of one document under one model. */
export interface DocumentLoss {
  /** Sum over the document's targets, nats. */
  readonly lossSum: number;
  readonly tokens: number;
}

export interface PairedDifference {
  /** Mean token loss, or metric, of the second minus that of the first. */
  readonly difference: number;
  /** Percentile interval. */
  readonly low: number;
  readonly high: number;
  readonly confidence: number;
  readonly documents: number;
}

export interface PairedBootstrapOptions<Compared> {
  readonly first: Compared;
  readonly second: Compared;
  readonly resamples?: number;
  readonly confidence?: number;
  readonly seed?: number;
}

/** Of the mean token loss; below 0: the second is better. Tokens of a document stay together because they are not independent. */
export function pairedBootstrap({ first, second, ...options }: PairedBootstrapOptions<readonly DocumentLoss[]>): PairedDifference {
  const differenceOf = (picks: Int32Array): number => {
    let [a, b, tokens] = [0, 0, 0];
    for (const at of picks) {
      a += first[at]!.lossSum;
      b += second[at]!.lossSum;
      tokens += first[at]!.tokens;
    }
    return (b - a) / tokens;
  };
  return resample({ documents: first.length, differencesOf: (picks) => [differenceOf(picks)], ...options })[0]!;
}

/** Of every metric, by its column in metrics files. @param first items of the same documents in the same order as `second` */
export function bootstrapMetrics({
  first,
  second,
  resamples = 1000,
  ...options
}: PairedBootstrapOptions<Scores>): Record<string, PairedDifference> {
  const metrics = metricsFor(first);
  const pick = (scores: Scores, picks: Int32Array): Scores =>
    ({ ...scores, items: Array.from(picks, (at) => scores.items[at]!) }) as Scores;
  const differencesOf = (picks: Int32Array): number[] => {
    const [a, b] = [pick(first, picks), pick(second, picks)];
    return metrics.map((metric) => metric.compute(b) - metric.compute(a));
  };
  const differences = resample({ documents: first.items.length, differencesOf, resamples, ...options });
  return Object.fromEntries(metrics.map(({ logName }, i) => [logName, differences[i]!]));
}

interface Resampling {
  readonly documents: number;
  /** One difference or several, on documents by their numbers. */
  differencesOf(picks: Int32Array): readonly number[];
  readonly resamples?: number;
  readonly confidence?: number;
  readonly seed?: number;
}

/** Documents are drawn with replacement, the same ones for both models. Draws on which a metric says nothing (NaN) do not count. */
function resample({ documents: n, differencesOf, resamples = 2000, confidence = 0.95, seed = 0 }: Resampling): PairedDifference[] {
  const random = createRandom(seed);
  const drawn = Array.from({ length: resamples }, () => differencesOf(Int32Array.from({ length: n }, () => random.integer(n))));
  return differencesOf(Int32Array.from({ length: n }, (_, i) => i)).map((difference, k) => {
    const sorted = Float64Array.from(drawn.map((differences) => differences[k]!).filter((value) => !Number.isNaN(value))).sort();
    const at = (share: number): number => sorted[Math.round(share * (sorted.length - 1))] ?? Number.NaN;
    return { difference, low: at((1 - confidence) / 2), high: at((1 + confidence) / 2), confidence, documents: n };
  });
}
