/** F1 of the words that a written text has in common with its reference, 0 to 1; mean over texts. rouge-score's rouge1. */
import { meanRouge, ngramF1 } from "../texts/rouge.ts";
import type { TaskMetric } from "./task-metric.ts";

export const rouge1 = {
  name: "rouge-1",
  logName: "eval_rouge1",
  better: "higher",
  kinds: ["texts"],
  compute: meanRouge(ngramF1(1)),
} as const satisfies TaskMetric<"texts">;
