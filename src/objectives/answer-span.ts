/**
 * Cross-entropy of an answer's first and of its last token over the tokens of its document, mean of the two, in nats: the loss
 * of transformers' ForQuestionAnswering. Differs: padding, which transformers leaves in the sum, is not in it.
 */
import type { Value } from "../tensor/graph.ts";
import {
  add,
  constant,
  gather,
  greaterOrEqual,
  logSumExp,
  mul,
  reduceMax,
  reduceSum,
  reshape,
  slice,
  stopGradient,
  sub,
  where,
} from "../tensor/ops/index.ts";
import { dim, multiplyDims } from "../tensor/shape.ts";
import type { LabelObjective } from "./objective.ts";

const [D, L] = [dim("labels"), dim("documentTokens")];

export const answerSpan = {
  name: "answer-span",
  summary: "Cross-entropy of an answer's first and last token.",
  readsLabels: true,
  labelsPer: "example",
  predictionsPer: "token",
  build({ logits, weights, target, build: { graph } }) {
    const tokenRows = reshape(target("tokenRows", { dtype: "int64", shape: [D, L] }), [multiplyDims(D, L)]);
    const absent = mul(sub(target("isToken", { dtype: "float32", shape: [D, L] }), 1), 1e9); // 0 or -1e9
    /** Column 0 or 1 of the logits -> loss and correctness of one end, [D]. */
    const judge = (column: number, rows: Value): { loss: Value; isBest: Value } => {
      const scores = reshape(slice(logits, 1, { start: column, size: 1 }), [logits.shape[0]!]);
      const ofDocument = add(reshape(gather(scores, tokenRows), [D, L]), absent);
      const ofAnswer = gather(scores, rows);
      return {
        loss: sub(logSumExp(ofDocument), ofAnswer),
        isBest: where(greaterOrEqual(ofAnswer, stopGradient(reduceMax(ofDocument, [-1]))), constant(graph, 1), constant(graph, 0)),
      };
    };
    const start = judge(0, target("starts", { dtype: "int64", shape: [D] }));
    const end = judge(1, target("ends", { dtype: "int64", shape: [D] }));
    const targetLosses = mul(add(start.loss, end.loss), 0.5);
    const correct = mul(start.isBest, end.isBest);
    return { targetLosses, lossSum: reduceSum(mul(targetLosses, weights), [0]), correct, predictions: logits };
  },
} as const satisfies LabelObjective;
