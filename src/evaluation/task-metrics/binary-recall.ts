/** Recall of the second of two labels, the positive one. scikit-learn's recall_score(pos_label=1). */
import { countLabels, recallOf } from "./label-counts.ts";
import type { TaskMetric } from "./task-metric.ts";

export const binaryRecall = {
  name: "binary-recall",
  logName: "eval_binary_recall",
  better: "higher",
  kinds: ["classes"],
  appliesTo: ({ labels }) => labels.length === 2,
  compute: (scores) => recallOf(countLabels(scores)[1]!),
} as const satisfies TaskMetric<"classes">;
