/** Macro F1: for every label 2 TP / (2 TP + FP + FN), mean over labels. scikit-learn's f1_score(average="macro"). */
import { f1Of, macro } from "./label-counts.ts";
import type { TaskMetric } from "./task-metric.ts";

export const f1 = {
  name: "f1",
  logName: "eval_f1",
  better: "higher",
  kinds: ["classes", "label-sets"],
  compute: (scores) => macro(scores, f1Of),
} as const satisfies TaskMetric<"classes" | "label-sets">;
