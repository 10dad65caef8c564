/** Nucleus sampling: Holtzman et al. 2019, https://arxiv.org/abs/1904.09751. A token stays while the likelier ones sum to less than p; one always stays. */
import { z } from "zod";
import { largestFirst } from "../../base/largest-first.ts";
import type { LogitsProcessor } from "./processor.ts";
import { exponentials } from "./softmax.ts";

export const topP = {
  name: "topP",
  valueSchema: z
    .number()
    .min(0)
    .max(1)
    .describe("only the likeliest tokens that together reach this probability may be drawn; 1 turns it off"),
  neutral: 1,
  onlyForDraws: true,
  process(logits, p) {
    const { weights, sum } = exponentials(logits);
    let before = 0;
    let kept = 0;
    const source = logits.slice();
    logits.fill(Number.NEGATIVE_INFINITY);
    for (const token of largestFirst(source)) {
      if (kept > 0 && before >= p * sum) break;
      logits[token] = source[token]!;
      before += weights[token]!;
      kept++;
    }
  },
} as const satisfies LogitsProcessor;
