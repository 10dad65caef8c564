/**
 * Each anchor should be nearer to its own positive than to all other candidates of the batch: cross-entropy over cosine
 * similarities times 20, in nats. MultipleNegativesRankingLoss of sentence-transformers; Henderson et al. 2017, https://arxiv.org/abs/1705.00652.
 */
import type { Value } from "../tensor/graph.ts";
import { add, div, gather, matmul, mul, reduceSum, sqrt } from "../tensor/ops/index.ts";
import { dim } from "../tensor/shape.ts";
import { crossEntropy } from "./cross-entropy.ts";
import type { LabelObjective } from "./objective.ts";

const scale = 20;

export const multipleNegativesRanking = {
  name: "multiple-negatives-ranking",
  summary: "Each anchor nearest to its own positive among all candidates of the batch.",
  readsLabels: true,
  labelsPer: "example",
  predictionsPer: "document",
  build({ logits, labels, weights, target }) {
    const directions = normalised(logits); // [D, C]
    const anchors = gather(directions, target("anchors", { dtype: "int64", shape: [dim("labels")] }));
    const candidates = gather(directions, target("candidates", { dtype: "int64", shape: [dim("candidates")] }));
    const { losses, correct } = crossEntropy(mul(matmul(anchors, candidates, { transposeB: true }), scale), labels);
    return { targetLosses: losses, lossSum: reduceSum(mul(losses, weights), [0]), correct, predictions: logits };
  },
} as const satisfies LabelObjective;

/** Rows of length one. */
const normalised = (rows: Value): Value => div(rows, sqrt(add(reduceSum(mul(rows, rows), [-1], { keepDims: true }), 1e-24)));
