/** Keeps the k most likely tokens; ties with the k-th stay. Fan et al. 2018, https://arxiv.org/abs/1805.04833. */
import type { LogitsProcessor } from "./processor.ts";

export const topK: LogitsProcessor = {
  name: "top-k",
  process(logits, { topK: k }) {
    if (k <= 0 || k >= logits.length) return;
    const threshold = Float32Array.from(logits).sort()[logits.length - k]!;
    for (let i = 0; i < logits.length; i++) if (logits[i]! < threshold) logits[i] = Number.NEGATIVE_INFINITY;
  },
};
