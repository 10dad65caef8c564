/** Recall over all labels together. scikit-learn's recall_score(average="micro"). */
import { countLabels, recallOf, sumOf } from "./label-counts.ts";
import type { TaskMetric } from "./task-metric.ts";

export const microRecall = {
  name: "micro-recall",
  logName: "eval_micro_recall",
  better: "higher",
  kinds: ["label-sets"],
  compute: (scores) => recallOf(sumOf(countLabels(scores))),
} as const satisfies TaskMetric<"label-sets">;
