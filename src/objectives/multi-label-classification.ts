/**
 * Binary cross-entropy of every label, mean over the labels of a row, in nats. `problem_type` multi_label_classification of transformers.
 * With logit x and target y: max(x, 0) - x y + log(1 + exp(-|x|)), which does not overflow. A row is correct if all its labels are.
 */
import {
  add,
  cast,
  constant,
  equal,
  exp,
  greaterOrEqual,
  log,
  maximum,
  mul,
  neg,
  reduceSum,
  relu,
  sub,
  where,
} from "../tensor/ops/index.ts";
import type { LabelObjective } from "./objective.ts";

export const multiLabelClassification = {
  name: "multi-label-classification",
  summary: "Binary cross-entropy of every label.",
  readsLabels: true,
  labelsPer: "logits",
  predictionsPer: "label",
  build({ logits, weights, target, build }) {
    const K = Number(logits.shape[1]);
    const wanted = target("values", { dtype: "float32", shape: logits.shape }); // [N, K], 0 or 1
    const magnitude = maximum(logits, neg(logits));
    const losses = add(sub(relu(logits), mul(logits, wanted)), log(add(exp(neg(magnitude)), 1)));
    const targetLosses = mul(reduceSum(losses, [-1]), 1 / K);
    const [one, zero] = [constant(build.graph, 1), constant(build.graph, 0)];
    const predicted = where(greaterOrEqual(logits, zero), one, zero);
    const matches = reduceSum(cast(equal(predicted, wanted), "float32"), [-1]);
    const correct = where(greaterOrEqual(matches, constant(build.graph, K - 0.5)), one, zero);
    return { targetLosses, lossSum: reduceSum(mul(targetLosses, weights), [0]), correct, predictions: logits };
  },
} as const satisfies LabelObjective;
