/** Cross-entropy over the choices of a question, each of which one document scores, in nats: the loss of transformers' ForMultipleChoice. */
import { add, gather, mul, reduceSum, reshape, sub } from "../tensor/ops/index.ts";
import { dim, multiplyDims } from "../tensor/shape.ts";
import { crossEntropy } from "./cross-entropy.ts";
import type { LabelObjective } from "./objective.ts";

const [G, K] = [dim("labels"), dim("choices")];

export const multipleChoice = {
  name: "multiple-choice",
  summary: "Cross-entropy over the choices of a question.",
  readsLabels: true,
  labelsPer: "example",
  predictionsPer: "document",
  build({ logits, labels, weights, target }) {
    const choices = reshape(target("choices", { dtype: "int64", shape: [G, K] }), [multiplyDims(G, K)]);
    const absent = mul(sub(target("isChoice", { dtype: "float32", shape: [G, K] }), 1), 1e9); // 0 or -1e9
    const scores = add(reshape(gather(logits, choices), [G, K]), absent);
    const { losses, correct } = crossEntropy(scores, labels);
    return { targetLosses: losses, lossSum: reduceSum(mul(losses, weights), [0]), correct, predictions: logits };
  },
} as const satisfies LabelObjective;
