/** Keeps the smallest set of most likely tokens that holds probability p. Holtzman et al. 2019, https://arxiv.org/abs/1904.09751. */
import { type LogitsProcessor, probabilities } from "./processor.ts";

export const topP: LogitsProcessor = {
  name: "top-p",
  process(logits, { topP: p }) {
    if (p >= 1) return;
    const likely = probabilities(logits);
    // From the least likely upwards: what together is at most 1 - p goes; the most likely always stays.
    const order = Uint32Array.from(likely.keys()).sort((a, b) => likely[a]! - likely[b]!);
    let below = 0;
    for (let i = 0; i < order.length - 1; i++) {
      below += likely[order[i]!]!;
      if (below > 1 - p) break;
      logits[order[i]!] = Number.NEGATIVE_INFINITY;
    }
  },
};
