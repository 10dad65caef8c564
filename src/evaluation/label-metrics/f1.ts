/** Macro F1: for every label 2 TP / (2 TP + FP + FN), 0 where it neither occurs nor is predicted; mean over the labels that do. scikit-learn's f1_score(average="macro"). */
import { confusionMatrix, type LabelMetric } from "./label-metric.ts";

export const f1 = {
  name: "f1",
  logName: "eval_f1",
  better: "higher",
  compute(labelled) {
    const counts = confusionMatrix(labelled);
    const scores = counts.flatMap((row, label) => {
      const actual = row.reduce((sum, n) => sum + n, 0);
      const predicted = counts.reduce((sum, other) => sum + other[label]!, 0);
      return actual + predicted === 0 ? [] : [(2 * row[label]!) / (actual + predicted)];
    });
    return scores.reduce((sum, score) => sum + score, 0) / scores.length;
  },
} as const satisfies LabelMetric;
