/** End tokens are forbidden until so many tokens have been generated. */
import { z } from "zod";
import type { LogitsProcessor } from "./processor.ts";

export const minNewTokens = {
  name: "minNewTokens",
  valueSchema: z.number().int().min(0).describe("no end token before so many new tokens; 0 turns it off"),
  neutral: 0,
  process(logits, least, { previousTokens, promptLength, eosTokenIds }) {
    if (previousTokens.length - promptLength >= least) return;
    for (const token of eosTokenIds) if (token < logits.length) logits[token] = Number.NEGATIVE_INFINITY;
  },
} as const satisfies LogitsProcessor;
