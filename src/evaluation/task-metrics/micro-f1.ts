/** F1 over all labels together; for one label a document it would be the accuracy. scikit-learn's f1_score(average="micro"). */
import { countLabels, f1Of, sumOf } from "./label-counts.ts";
import type { TaskMetric } from "./task-metric.ts";

export const microF1 = {
  name: "micro-f1",
  logName: "eval_micro_f1",
  better: "higher",
  kinds: ["label-sets"],
  compute: (scores) => f1Of(sumOf(countLabels(scores))),
} as const satisfies TaskMetric<"label-sets">;
