/** Matthews correlation for any number of labels, -1 to 1; 0 where predictions or labels are all the same. Gorodkin 2004; scikit-learn's matthews_corrcoef. */
import { confusionMatrix, type LabelMetric } from "./label-metric.ts";

export const matthewsCorrelation = {
  name: "matthews-correlation",
  logName: "eval_matthews_correlation",
  better: "higher",
  compute(labelled) {
    const counts = confusionMatrix(labelled);
    const total = labelled.actual.length;
    const actual = counts.map((row) => row.reduce((sum, n) => sum + n, 0));
    const predicted = counts.map((_, label) => counts.reduce((sum, row) => sum + row[label]!, 0));
    const correct = counts.reduce((sum, row, label) => sum + row[label]!, 0);
    const dot = (a: readonly number[], b: readonly number[]): number => a.reduce((sum, value, i) => sum + value * b[i]!, 0);
    const scale = Math.sqrt((total ** 2 - dot(predicted, predicted)) * (total ** 2 - dot(actual, actual)));
    return scale === 0 ? 0 : (correct * total - dot(predicted, actual)) / scale;
  },
} as const satisfies LabelMetric;
