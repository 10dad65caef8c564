/** Cross-entropy over labels, in nats: one label for each row. `problem_type` single_label_classification of transformers. */
import { mul, reduceSum } from "../tensor/ops/index.ts";
import { crossEntropy } from "./cross-entropy.ts";
import type { LabelObjective } from "./objective.ts";

export const singleLabelClassification = {
  name: "single-label-classification",
  summary: "Cross-entropy over labels.",
  readsLabels: true,
  labelsPer: "logits",
  predictionsPer: "label",
  build({ logits, labels, weights }) {
    const { losses, correct } = crossEntropy(logits, labels);
    return { targetLosses: losses, lossSum: reduceSum(mul(losses, weights), [0]), correct, predictions: logits };
  },
} as const satisfies LabelObjective;
