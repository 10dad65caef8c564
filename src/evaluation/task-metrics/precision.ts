/** Macro precision: mean over labels of the share of predictions that are right. scikit-learn's precision_score(average="macro"). */
import { macro, precisionOf } from "./label-counts.ts";
import type { TaskMetric } from "./task-metric.ts";

export const precision = {
  name: "precision",
  logName: "eval_precision",
  better: "higher",
  kinds: ["classes", "label-sets"],
  compute: (scores) => macro(scores, precisionOf),
} as const satisfies TaskMetric<"classes" | "label-sets">;
