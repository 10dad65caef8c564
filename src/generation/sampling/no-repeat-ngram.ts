/** No run of n tokens, prompt included, occurs twice: Paulus et al. 2017, section 2.5, https://arxiv.org/abs/1705.04304. */
import { z } from "zod";
import type { LogitsProcessor } from "./processor.ts";

export const noRepeatNgramSize = {
  name: "noRepeatNgramSize",
  valueSchema: z.number().int().min(0).describe("no run of so many tokens occurs twice, the prompt included; 0 turns it off"),
  neutral: 0,
  process(logits, n, { previousTokens: tokens }) {
    const beginning = tokens.length - (n - 1);
    for (let start = 0; start < beginning; start++) {
      let same = 0;
      while (same < n - 1 && tokens[start + same] === tokens[beginning + same]) same++;
      if (same === n - 1) logits[tokens[start + n - 1]!] = Number.NEGATIVE_INFINITY;
    }
  },
} as const satisfies LogitsProcessor;
