/** Share of answers that are one of the right ones: to questions over a context word by word, as SQuAD's exact_match; of free texts to the letter, as Hugging Face's. */
import { answerWords } from "./answer-words.ts";
import { byItem } from "./by-item.ts";
import type { AnswerItem, TaskMetric } from "./task-metric.ts";

export const exactMatch = {
  name: "exact-match",
  logName: "eval_exact_match",
  better: "higher",
  kinds: ["answers", "texts"],
  compute(scores) {
    const { items } = scores;
    const right =
      scores.kind === "texts" ? scores.items.filter(({ predicted, actual }) => actual.includes(predicted)) : scores.items.filter(isExact);
    return right.length / items.length;
  },
} as const satisfies TaskMetric<"answers" | "texts">;

/** True if the answer is one of the right ones. */
export const isExact = byItem(({ predicted, actual }: AnswerItem) => {
  const words = answerWords(predicted).join(" ");
  return answersOf(actual).some((one) => answerWords(one).join(" ") === words);
});

/** A question without an answer has the empty one. */
export const answersOf = (actual: readonly string[]): readonly string[] => (actual.length === 0 ? [""] : actual);
