/** Matthews correlation for any number of labels, -1 to 1; 0 where predictions or labels are all the same. Gorodkin 2004; scikit-learn's matthews_corrcoef. */
import { countLabels } from "./label-counts.ts";
import type { TaskMetric } from "./task-metric.ts";

export const matthewsCorrelation = {
  name: "matthews-correlation",
  logName: "eval_matthews_correlation",
  better: "higher",
  kinds: ["classes"],
  compute(scores) {
    const counts = countLabels(scores);
    const total = scores.items.length;
    const sum = (of: (count: (typeof counts)[number]) => number): number => counts.reduce((all, count) => all + of(count), 0);
    const scale = Math.sqrt((total ** 2 - sum(({ predicted }) => predicted ** 2)) * (total ** 2 - sum(({ actual }) => actual ** 2)));
    return scale === 0 ? 0 : (sum(({ hits }) => hits) * total - sum(({ predicted, actual }) => predicted * actual)) / scale;
  },
} as const satisfies TaskMetric<"classes">;
