/** Mean of one over the place at which a query's match stands, 0 to 1. */
import type { TaskMetric } from "./task-metric.ts";

export const meanReciprocalRank = {
  name: "mean-reciprocal-rank",
  logName: "eval_mean_reciprocal_rank",
  better: "higher",
  kinds: ["ranks"],
  compute: ({ items }) => items.reduce((sum, { rank }) => sum + 1 / rank, 0) / items.length,
} as const satisfies TaskMetric<"ranks">;
