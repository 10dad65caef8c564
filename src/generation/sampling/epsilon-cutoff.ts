/** Tokens less likely than epsilon may not be drawn; the likeliest always stays. Hewitt et al. 2022, https://arxiv.org/abs/2210.15191. */
import { z } from "zod";
import type { LogitsProcessor } from "./processor.ts";
import { exponentials } from "./softmax.ts";

export const epsilonCutoff = {
  name: "epsilonCutoff",
  valueSchema: z.number().min(0).lt(1).describe("only tokens at least this likely may be drawn; 0 turns it off"),
  neutral: 0,
  onlyForDraws: true,
  process(logits, epsilon) {
    const { weights, sum } = exponentials(logits);
    // The likeliest has the weight 1.
    for (const [token, weight] of weights.entries()) if (weight < 1 && weight < epsilon * sum) logits[token] = Number.NEGATIVE_INFINITY;
  },
} as const satisfies LogitsProcessor;
