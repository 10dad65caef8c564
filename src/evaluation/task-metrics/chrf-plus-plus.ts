/** chrF with words and pairs of words beside the characters, 0 to 1. sacrebleu's chrF2++. Popović 2017, https://aclanthology.org/W17-4770. */
import { characterFScore } from "../texts/character-ngrams.ts";
import type { TaskMetric } from "./task-metric.ts";

export const chrfPlusPlus = {
  name: "chrf-plus-plus",
  logName: "eval_chrf_plus_plus",
  better: "higher",
  kinds: ["texts"],
  compute: characterFScore({ wordOrder: 2 }),
} as const satisfies TaskMetric<"texts">;
