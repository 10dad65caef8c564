/** Share of queries whose match is among the first 5. */
import { recallAt } from "./ranks.ts";
import type { TaskMetric } from "./task-metric.ts";

export const recallAt5 = {
  name: "recall-at-5",
  logName: "eval_recall_at_5",
  better: "higher",
  kinds: ["ranks"],
  compute: ({ items }) => recallAt(items, 5),
} as const satisfies TaskMetric<"ranks">;
