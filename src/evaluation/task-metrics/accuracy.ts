/** Share of documents whose label was predicted; where a document may have several, all of them. scikit-learn's accuracy_score. */
import type { TaskMetric } from "./task-metric.ts";

export const accuracy = {
  name: "accuracy",
  logName: "eval_accuracy",
  better: "higher",
  kinds: ["classes", "label-sets", "choices"],
  compute({ items }) {
    const right = items.filter(({ predicted, actual }) => [predicted].flat().every((label, i) => label === [actual].flat()[i]));
    return right.length / items.length;
  },
} as const satisfies TaskMetric<"classes" | "label-sets" | "choices">;
