/** Pearson's linear correlation of predicted and actual numbers, -1 to 1; mean over columns where a document has several. scipy's pearsonr. */
import { correlate } from "./correlation.ts";
import type { TaskMetric } from "./task-metric.ts";

export const pearson = {
  name: "pearson",
  logName: "eval_pearson",
  better: "higher",
  kinds: ["numbers"],
  compute({ items }) {
    const width = items[0]?.actual.length ?? 0;
    const columns = Array.from({ length: width }, (_, k) => {
      const [predicted, actual] = [items.map((item) => item.predicted[k]!), items.map((item) => item.actual[k]!)];
      return correlate(predicted, actual);
    });
    return columns.reduce((sum, value) => sum + value, 0) / width;
  },
} as const satisfies TaskMetric<"numbers">;
