/** Share of questions whose answer is, word by word, one of the right ones. SQuAD's exact_match. */
import { answerWords } from "./answer-words.ts";
import { byItem } from "./by-item.ts";
import type { AnswerItem, TaskMetric } from "./task-metric.ts";

export const exactMatch = {
  name: "exact-match",
  logName: "eval_exact_match",
  better: "higher",
  kinds: ["answers"],
  compute: ({ items }) => items.filter(isExact).length / items.length,
} as const satisfies TaskMetric<"answers">;

/** True if the answer is one of the right ones. */
export const isExact = byItem(({ predicted, actual }: AnswerItem) => {
  const words = answerWords(predicted).join(" ");
  return answersOf(actual).some((one) => answerWords(one).join(" ") === words);
});

/** A question without an answer has the empty one. */
export const answersOf = (actual: readonly string[]): readonly string[] => (actual.length === 0 ? [""] : actual);
