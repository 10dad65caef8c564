/** Share of documents whose label was predicted. */
import type { LabelMetric } from "./label-metric.ts";

export const accuracy = {
  name: "accuracy",
  logName: "eval_accuracy",
  better: "higher",
  compute: ({ predicted, actual }) => actual.filter((label, i) => label === predicted[i]).length / actual.length,
} as const satisfies LabelMetric;
