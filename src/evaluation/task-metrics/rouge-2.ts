/** F1 of the pairs of words that a written text has in common with its reference, 0 to 1; mean over texts. rouge-score's rouge2. */
import { meanRouge, ngramF1 } from "../texts/rouge.ts";
import type { TaskMetric } from "./task-metric.ts";

export const rouge2 = {
  name: "rouge-2",
  logName: "eval_rouge2",
  better: "higher",
  kinds: ["texts"],
  compute: meanRouge(ngramF1(2)),
} as const satisfies TaskMetric<"texts">;
