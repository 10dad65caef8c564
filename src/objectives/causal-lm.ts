/**
 * Next-token cross-entropy, in nats. Differs from the textbook:
 * 1. The loss is logsumexp(h W^T) - <h, W[label]>. The gradient needs no one-hot matrix of the size of the logits: it is
 *    softmax(h W^T) W - W[label], and only rows that carry loss reach this head at all.
 * 2. Label smoothing as in torch (1 - e of the mass on the label, e spread over the vocabulary, the label included):
 *    the spread part is <h, mean of W>, or where logits are soft-capped the mean of the logits.
 */
import { z } from "zod";
import { softCapped } from "../models/layers/soft-cap.ts";
import { biasOf, logitsOf, sumOverVocabulary } from "../models/layers/vocabulary.ts";
import {
  add,
  constant,
  gather,
  greaterOrEqual,
  matmul,
  maximum,
  mul,
  neg,
  reduceMean,
  reduceSum,
  reshape,
  sub,
  where,
} from "../tensor/ops/index.ts";
import type { Objective } from "./objective.ts";

const configSchema = z.strictObject({
  name: z.literal("causal-lm"),
  labelSmoothing: z
    .number()
    .min(0)
    .lt(1)
    .default(0)
    .describe("Share of the target mass that is spread over the vocabulary, 0 to below 1; 0.1 is usual where it is used."),
});

export const causalLm = {
  name: "causal-lm",
  summary: "Next-token cross-entropy on the supervised tokens.",
  configSchema,
  build({ head, labels, weights, build, config }) {
    const { features, vocabulary, bias, softCap } = head;
    const N = features.shape[0]!;
    const projected = reduceSum(mul(build.asRead(features, vocabulary), build.rows(vocabulary, labels)), [-1]); // [N]
    const labelLogits = softCapped(bias ? add(projected, gather(biasOf(bias, build), labels)) : projected, softCap);
    const { normaliser, largest: best } = sumOverVocabulary(head, build);
    const expected = config.labelSmoothing === 0 ? labelLogits : smoothed(config.labelSmoothing);
    const targetLosses = sub(normaliser, expected);
    // The label's logit was summed in another order than the row's maximum; a few units in the last place make it a tie.
    const tolerance = mul(add(maximum(best, neg(best)), 1), 1e-5);
    const correct = where(greaterOrEqual(add(labelLogits, tolerance), best), constant(build.graph, 1), constant(build.graph, 0));
    return { targetLosses, lossSum: reduceSum(mul(targetLosses, weights), [0]), correct };

    function smoothed(share: number) {
      return add(mul(labelLogits, 1 - share), mul(softCap === undefined ? meanLogits() : reduceMean(logitsOf(head, build), [-1]), share));
    }

    function meanLogits() {
      const mean = reduceMean(build.parameter(vocabulary), [0], { keepDims: true }); // [1, C]
      const spread = reshape(matmul(features, mean, { transposeB: true }), [N]);
      return bias ? add(spread, reduceMean(biasOf(bias, build), [0])) : spread;
    }
  },
} as const satisfies Objective<z.output<typeof configSchema>>;
