/** Precision over entities: one counts if its kind, its first and its last word are right. seqeval's precision_score. */
import { countEntities } from "./entities.ts";
import { precisionOf } from "./label-counts.ts";
import type { TaskMetric } from "./task-metric.ts";

export const entityPrecision = {
  name: "entity-precision",
  logName: "eval_entity_precision",
  better: "higher",
  kinds: ["tags"],
  compute: ({ items }) => precisionOf(countEntities(items)),
} as const satisfies TaskMetric<"tags">;
