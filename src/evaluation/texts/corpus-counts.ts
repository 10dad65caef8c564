/** Metrics of a corpus: counts of each text, which add up. An interval draws texts and adds their counts again. */
import { byItem } from "../task-metrics/by-item.ts";
import type { ScoresOf, TextItem } from "../task-metrics/task-metric.ts";

interface CorpusMetric {
  /** Counts, as many of every text. */
  countsOf(item: TextItem): readonly number[];
  /** The metric of counts that were added up. */
  scoreOf(counts: Float64Array): number;
}

/** NaN without texts. */
export function overCorpus({ countsOf, scoreOf }: CorpusMetric): (scores: ScoresOf<"texts">) => number {
  const known = byItem(countsOf);
  return ({ items }) => {
    if (items.length === 0) return Number.NaN;
    const sums = new Float64Array(known(items[0]!).length);
    for (const item of items) known(item).forEach((count, k) => (sums[k]! += count));
    return scoreOf(sums);
  };
}
