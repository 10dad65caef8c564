/** Share of queries whose match is the first. */
import { recallAt } from "./ranks.ts";
import type { TaskMetric } from "./task-metric.ts";

export const recallAt1 = {
  name: "recall-at-1",
  logName: "eval_recall_at_1",
  better: "higher",
  kinds: ["ranks"],
  compute: ({ items }) => recallAt(items, 1),
} as const satisfies TaskMetric<"ranks">;
