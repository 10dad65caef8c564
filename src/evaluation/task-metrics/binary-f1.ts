/** F1 of the second of two labels, the positive one, as GLUE reports it. scikit-learn's f1_score(pos_label=1). */
import { countLabels, f1Of } from "./label-counts.ts";
import type { TaskMetric } from "./task-metric.ts";

export const binaryF1 = {
  name: "binary-f1",
  logName: "eval_binary_f1",
  better: "higher",
  kinds: ["classes"],
  appliesTo: ({ labels }) => labels.length === 2,
  compute: (scores) => f1Of(countLabels(scores)[1]!),
} as const satisfies TaskMetric<"classes">;
