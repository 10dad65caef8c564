/** Precision over all labels together. scikit-learn's precision_score(average="micro"). */
import { countLabels, precisionOf, sumOf } from "./label-counts.ts";
import type { TaskMetric } from "./task-metric.ts";

export const microPrecision = {
  name: "micro-precision",
  logName: "eval_micro_precision",
  better: "higher",
  kinds: ["label-sets"],
  compute: (scores) => precisionOf(sumOf(countLabels(scores))),
} as const satisfies TaskMetric<"label-sets">;
