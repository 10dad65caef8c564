/** Squared error, mean over the numbers of a row. `problem_type` regression of transformers. Nothing is ever exactly right, so `correct` is 0. */
import { mul, reduceSum, sub } from "../tensor/ops/index.ts";
import type { LabelObjective } from "./objective.ts";

export const regression = {
  name: "regression",
  summary: "Squared error of every number.",
  readsLabels: true,
  labelsPer: "logits",
  predictionsPer: "label",
  build({ logits, weights, target }) {
    const K = Number(logits.shape[1]);
    const difference = sub(logits, target("values", { dtype: "float32", shape: logits.shape })); // [N, K]
    const targetLosses = mul(reduceSum(mul(difference, difference), [-1]), 1 / K);
    return { targetLosses, lossSum: reduceSum(mul(targetLosses, weights), [0]), correct: mul(targetLosses, 0), predictions: logits };
  },
} as const satisfies LabelObjective;
