/** Nguyen et al. 2024, https://arxiv.org/abs/2407.01082. */
import { z } from "zod";
import type { LogitsProcessor } from "./processor.ts";
import { exponentials } from "./softmax.ts";

export const minP = {
  name: "minP",
  valueSchema: z.number().min(0).max(1).describe("drops tokens less likely than this share of the likeliest one; 0 turns it off"),
  neutral: 0,
  onlyForDraws: true,
  process(logits, share) {
    // The likeliest token has weight 1, so a weight is already the share of it.
    const { weights } = exponentials(logits);
    for (let i = 0; i < logits.length; i++) if (weights[i]! < share) logits[i] = Number.NEGATIVE_INFINITY;
  },
} as const satisfies LogitsProcessor;
