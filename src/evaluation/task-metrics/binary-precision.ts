/** Precision of the second of two labels, the positive one. scikit-learn's precision_score(pos_label=1). */
import { countLabels, precisionOf } from "./label-counts.ts";
import type { TaskMetric } from "./task-metric.ts";

export const binaryPrecision = {
  name: "binary-precision",
  logName: "eval_binary_precision",
  better: "higher",
  kinds: ["classes"],
  appliesTo: ({ labels }) => labels.length === 2,
  compute: (scores) => precisionOf(countLabels(scores)[1]!),
} as const satisfies TaskMetric<"classes">;
