/** Noise that is added while training and left out when evaluating. */
import type { ModelHooks } from "../models/segment-builder.ts";
import { add, constant, mul, sub } from "../tensor/ops/index.ts";

/** Inverted dropout on every branch before it joins the residual stream, with probability p. */
export const residualDropout = (p: number): ModelHooks => ({ residual: (branch, build) => build.dropout(branch, p) });

/**
 * NEFTune: uniform noise on the token embeddings, of magnitude alpha / sqrt(T C). Jain et al. 2023, https://arxiv.org/abs/2310.05914.
 * Differs: T is the length that sequences are packed or padded to, given here, and not each document's own.
 */
export const embeddingNoise = ({ alpha, sequenceLength }: { alpha: number; sequenceLength: number }): ModelHooks => ({
  embedding(embedded, build) {
    const C = embedded.shape.at(-1)!;
    const magnitude = alpha / Math.sqrt(sequenceLength * Number(C));
    return add(embedded, mul(sub(mul(build.uniformLike(embedded), 2), constant(build.graph, 1)), magnitude));
  },
});
