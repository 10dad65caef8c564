/** F1 of the longest common subsequence of words, 0 to 1; mean over texts. rouge-score's rougeL. */
import { meanRouge, subsequenceF1 } from "../texts/rouge.ts";
import type { TaskMetric } from "./task-metric.ts";

export const rougeL = {
  name: "rouge-l",
  logName: "eval_rougeL",
  better: "higher",
  kinds: ["texts"],
  compute: meanRouge(subsequenceF1),
} as const satisfies TaskMetric<"texts">;
