/** Every metric of held-out data. */
import { loss } from "./loss.ts";
import type { EvaluationTotals, Metric } from "./metric.ts";
import { perplexity } from "./perplexity.ts";
import { tokenAccuracy } from "./token-accuracy.ts";

export const metrics = [loss, perplexity, tokenAccuracy] as const satisfies readonly Metric[];

export type MetricName = (typeof metrics)[number]["name"];
export type MetricLogName = (typeof metrics)[number]["logName"];

/** Every metric of these totals, under its column of metrics.jsonl. */
export const computeMetrics = (totals: EvaluationTotals): Record<MetricLogName, number> =>
  Object.fromEntries(metrics.map((metric) => [metric.logName, metric.compute(totals)])) as Record<MetricLogName, number>;
