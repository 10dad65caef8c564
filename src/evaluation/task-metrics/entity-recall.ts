/** Recall over entities: one counts if its kind, its first and its last word are right. seqeval's recall_score. */
import { countEntities } from "./entities.ts";
import { recallOf } from "./label-counts.ts";
import type { TaskMetric } from "./task-metric.ts";

export const entityRecall = {
  name: "entity-recall",
  logName: "eval_entity_recall",
  better: "higher",
  kinds: ["tags"],
  compute: ({ items }) => recallOf(countEntities(items)),
} as const satisfies TaskMetric<"tags">;
