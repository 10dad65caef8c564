/** F1 of the longest common subsequences of the lines of a summary, 0 to 1; mean over texts. rouge-score's rougeLsum. */
import { meanRouge, summaryF1 } from "../texts/rouge.ts";
import type { TaskMetric } from "./task-metric.ts";

export const rougeLsum = {
  name: "rouge-lsum",
  logName: "eval_rougeLsum",
  better: "higher",
  kinds: ["texts"],
  compute: meanRouge(summaryF1),
} as const satisfies TaskMetric<"texts">;
