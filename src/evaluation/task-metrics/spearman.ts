/** Spearman's rank correlation of predicted and actual numbers, -1 to 1; mean over columns where a document has several. scipy's spearmanr. */
import { correlate, ranksOf } from "./correlation.ts";
import type { TaskMetric } from "./task-metric.ts";

export const spearman = {
  name: "spearman",
  logName: "eval_spearman",
  better: "higher",
  kinds: ["numbers"],
  compute({ items }) {
    const width = items[0]?.actual.length ?? 0;
    const columns = Array.from({ length: width }, (_, k) => {
      const [predicted, actual] = [items.map((item) => item.predicted[k]!), items.map((item) => item.actual[k]!)];
      return correlate(ranksOf(predicted), ranksOf(actual));
    });
    return columns.reduce((sum, value) => sum + value, 0) / width;
  },
} as const satisfies TaskMetric<"numbers">;
