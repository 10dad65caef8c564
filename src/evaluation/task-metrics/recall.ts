/** Macro recall: mean over labels of the share that was found. scikit-learn's recall_score(average="macro"). */
import { macro, recallOf } from "./label-counts.ts";
import type { TaskMetric } from "./task-metric.ts";

export const recall = {
  name: "recall",
  logName: "eval_recall",
  better: "higher",
  kinds: ["classes", "label-sets"],
  compute: (scores) => macro(scores, recallOf),
} as const satisfies TaskMetric<"classes" | "label-sets">;
