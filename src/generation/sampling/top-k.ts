/** Fan et al. 2018, https://arxiv.org/abs/1805.04833. Tokens that tie with the k-th stay. */
import { z } from "zod";
import { indicesOfLargest } from "../../base/largest.ts";
import type { LogitsProcessor } from "./processor.ts";

export const topK = {
  name: "topK",
  valueSchema: z.number().int().min(0).describe("only the k likeliest tokens may be drawn; 0 turns it off"),
  neutral: 0,
  onlyForDraws: true,
  process(logits, k) {
    if (k >= logits.length) return;
    const best = indicesOfLargest(logits, k);
    const threshold = best.length < k ? Number.NEGATIVE_INFINITY : logits[best[k - 1]!]!;
    for (let i = 0; i < logits.length; i++) if (logits[i]! < threshold) logits[i] = Number.NEGATIVE_INFINITY;
  },
} as const satisfies LogitsProcessor;
