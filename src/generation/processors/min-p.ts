/** Keeps tokens at least this share as likely as the most likely one. Nguyen et al. 2024, https://arxiv.org/abs/2407.01082. */
import { type LogitsProcessor, probabilities } from "./processor.ts";

export const minP: LogitsProcessor = {
  name: "min-p",
  process(logits, { minP: p }) {
    if (p <= 0) return;
    const likely = probabilities(logits);
    let most = 0;
    for (const value of likely) if (value > most) most = value;
    for (let i = 0; i < logits.length; i++) if (likely[i]! < p * most) logits[i] = Number.NEGATIVE_INFINITY;
  },
};
