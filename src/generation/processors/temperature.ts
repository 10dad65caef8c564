/** Divides logits: below 1 sharpens the distribution, above 1 flattens it. */
import type { LogitsProcessor } from "./processor.ts";

export const temperature: LogitsProcessor = {
  name: "temperature",
  process(logits, { temperature: t }) {
    if (t === 0 || t === 1) return;
    for (let i = 0; i < logits.length; i++) logits[i]! /= t;
  },
};
