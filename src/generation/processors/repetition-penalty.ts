/** Divides the logits of tokens that occurred already, multiplies where they are negative. Keskar et al. 2019, https://arxiv.org/abs/1909.05858. */
import type { LogitsProcessor } from "./processor.ts";

export const repetitionPenalty: LogitsProcessor = {
  name: "repetition-penalty",
  process(logits, { repetitionPenalty: penalty }, previous) {
    if (penalty === 1) return;
    for (const id of new Set(previous)) logits[id] = logits[id]! < 0 ? logits[id]! * penalty : logits[id]! / penalty;
  },
};
