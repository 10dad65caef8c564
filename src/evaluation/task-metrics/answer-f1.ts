/** F1 over the words of an answer, against the right answer that is nearest; mean over questions. SQuAD's f1. */
import { answerWords } from "./answer-words.ts";
import { byItem } from "./by-item.ts";
import { answersOf } from "./exact-match.ts";
import type { AnswerItem, TaskMetric } from "./task-metric.ts";

export const answerF1 = {
  name: "answer-f1",
  logName: "eval_answer_f1",
  better: "higher",
  kinds: ["answers"],
  compute: ({ items }) => items.reduce((sum, item) => sum + bestOverlap(item), 0) / items.length,
} as const satisfies TaskMetric<"answers">;

const bestOverlap = byItem(({ predicted, actual }: AnswerItem) =>
  Math.max(...answersOf(actual).map((one) => overlap(answerWords(predicted), answerWords(one)))),
);

/** F1 of two bags of words; two empty ones are equal. */
function overlap(predicted: readonly string[], actual: readonly string[]): number {
  if (predicted.length === 0 || actual.length === 0) return Number(predicted.length === actual.length);
  const left = new Map<string, number>();
  for (const word of actual) left.set(word, (left.get(word) ?? 0) + 1);
  let common = 0;
  for (const word of predicted) {
    const count = left.get(word) ?? 0;
    if (count > 0) common++;
    left.set(word, count - 1);
  }
  return (2 * common) / (predicted.length + actual.length);
}
