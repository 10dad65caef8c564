/** Share of queries whose match is among the first 10. */
import { recallAt } from "./ranks.ts";
import type { TaskMetric } from "./task-metric.ts";

export const recallAt10 = {
  name: "recall-at-10",
  logName: "eval_recall_at_10",
  better: "higher",
  kinds: ["ranks"],
  compute: ({ items }) => recallAt(items, 10),
} as const satisfies TaskMetric<"ranks">;
