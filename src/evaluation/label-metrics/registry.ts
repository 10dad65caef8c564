/** Every metric over labels. */
import { accuracy } from "./accuracy.ts";
import { f1 } from "./f1.ts";
import type { Labelled, LabelMetric } from "./label-metric.ts";
import { matthewsCorrelation } from "./matthews-correlation.ts";

export const labelMetrics = [accuracy, f1, matthewsCorrelation] as const satisfies readonly LabelMetric[];

/** Every metric under its column of metrics.jsonl. */
export const computeLabelMetrics = (labelled: Labelled): Record<string, number> =>
  Object.fromEntries(labelMetrics.map((metric) => [metric.logName, metric.compute(labelled)]));
