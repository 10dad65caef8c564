/** Keskar et al. 2019, CTRL, section 4.1, https://arxiv.org/abs/1909.05858; a negative logit is multiplied, as in transformers, so that it falls too. */
import { z } from "zod";
import type { LogitsProcessor } from "./processor.ts";

export const repetitionPenalty = {
  name: "repetitionPenalty",
  valueSchema: z.number().positive().describe("makes tokens that occurred before less likely; over 1, usually 1.05 to 1.3"),
  neutral: 1,
  process(logits, penalty, { previousTokens }) {
    for (const token of new Set(previousTokens)) {
      const logit = logits[token]!;
      logits[token] = logit < 0 ? logit * penalty : logit / penalty;
    }
  },
} as const satisfies LogitsProcessor;
