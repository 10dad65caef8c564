/** F1 over entities: one counts if its kind, its first and its last word are right. seqeval's f1_score. */
import { countEntities } from "./entities.ts";
import { f1Of } from "./label-counts.ts";
import type { TaskMetric } from "./task-metric.ts";

export const entityF1 = {
  name: "entity-f1",
  logName: "eval_entity_f1",
  better: "higher",
  kinds: ["tags"],
  compute: ({ items }) => f1Of(countEntities(items)),
} as const satisfies TaskMetric<"tags">;
