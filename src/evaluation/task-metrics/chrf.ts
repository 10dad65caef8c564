/** F-score of character n-grams up to 6 over all texts together, 0 to 1 (sacrebleu writes it times 100). sacrebleu's chrF2. */
import { characterFScore } from "../texts/character-ngrams.ts";
import type { TaskMetric } from "./task-metric.ts";

export const chrf = {
  name: "chrf",
  logName: "eval_chrf",
  better: "higher",
  kinds: ["texts"],
  compute: characterFScore({ wordOrder: 0 }),
} as const satisfies TaskMetric<"texts">;
