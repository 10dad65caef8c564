/** Paired bootstrap interval for the difference of two models' mean token loss on the same documents. Efron and Tibshirani 1993; Koehn 2004, https://aclanthology.org/W04-3250. */
import { createRandom } from "../base/random.ts";

/** Losses of one document under one model. */
export interface DocumentLoss {
  /** Sum over the document's targets, nats. */
  readonly lossSum: number;
  readonly tokens: number;
}

export interface PairedDifference {
  /** Mean token loss of the second minus that of the first; below 0: the second is better. */
  readonly difference: number;
  /** Percentile interval. */
  readonly low: number;
  readonly high: number;
  readonly confidence: number;
  readonly documents: number;
}

export interface PairedBootstrapOptions {
  readonly first: readonly DocumentLoss[];
  readonly second: readonly DocumentLoss[];
  readonly resamples?: number;
  readonly confidence?: number;
  readonly seed?: number;
}

/** Documents are drawn with replacement, the same ones for both models; tokens of a document stay together because they are not independent. */
export function pairedBootstrap({
  first,
  second,
  resamples = 2000,
  confidence = 0.95,
  seed = 0,
}: PairedBootstrapOptions): PairedDifference {
  const random = createRandom(seed);
  const n = first.length;
  const differenceOf = (pick: (i: number) => number): number => {
    let [a, b, tokens] = [0, 0, 0];
    for (let i = 0; i < n; i++) {
      const at = pick(i);
      a += first[at]!.lossSum;
      b += second[at]!.lossSum;
      tokens += first[at]!.tokens;
    }
    return (b - a) / tokens;
  };
  const drawn = Float64Array.from({ length: resamples }, () => differenceOf(() => random.integer(n))).sort();
  const at = (share: number): number => drawn[Math.min(resamples - 1, Math.max(0, Math.round(share * (resamples - 1))))]!;
  return { difference: differenceOf((i) => i), low: at((1 - confidence) / 2), high: at((1 + confidence) / 2), confidence, documents: n };
}
