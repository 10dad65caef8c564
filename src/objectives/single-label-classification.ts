/** Cross-entropy over labels, in nats: one label for each row. `problem_type` single_label_classification of transformers. */
import {
  cast,
  constant,
  equal,
  greaterOrEqual,
  logSumExp,
  mul,
  range,
  reduceMax,
  reduceSum,
  reshape,
  stopGradient,
  sub,
  where,
} from "../tensor/ops/index.ts";
import type { LabelObjective } from "./objective.ts";

export const singleLabelClassification = {
  name: "single-label-classification",
  summary: "Cross-entropy over labels.",
  readsLabels: true,
  build({ logits, labels, weights, build }) {
    const [N, K] = logits.shape as [(typeof logits.shape)[0], number];
    const isLabel = equal(reshape(labels, [N, 1]), reshape(range(build.graph, K), [1, K]));
    const labelLogits = reduceSum(mul(logits, cast(isLabel, "float32")), [-1]); // [N]
    const targetLosses = sub(logSumExp(logits), labelLogits);
    const best = stopGradient(reduceMax(logits, [-1]));
    const correct = where(greaterOrEqual(labelLogits, best), constant(build.graph, 1), constant(build.graph, 0));
    return { targetLosses, lossSum: reduceSum(mul(targetLosses, weights), [0]), correct, predictions: logits };
  },
} as const satisfies LabelObjective;
