/** Share of words whose tag is right. seqeval's accuracy_score. */
import type { TaskMetric } from "./task-metric.ts";

export const tagAccuracy = {
  name: "tag-accuracy",
  logName: "eval_tag_accuracy",
  better: "higher",
  kinds: ["tags"],
  compute({ items }) {
    const words = items.reduce((sum, { actual }) => sum + actual.length, 0);
    const right = items.reduce((sum, { predicted, actual }) => sum + actual.filter((tag, i) => tag === predicted[i]).length, 0);
    return right / words;
  },
} as const satisfies TaskMetric<"tags">;
