/** Divides logits: below 1 sharpens the distribution, above 1 flattens it. */
import { z } from "zod";
import type { LogitsProcessor } from "./processor.ts";

export const temperature = {
  name: "temperature",
  valueSchema: z.number().min(0).describe("under 1 sharper, over 1 more varied; 0 always takes the likeliest token"),
  neutral: 1,
  onlyForDraws: true,
  process(logits, value) {
    // 0 has no quotient: it means greedy, which sampleToken does without drawing.
    if (value > 0) for (let i = 0; i < logits.length; i++) logits[i]! /= value;
  },
} as const satisfies LogitsProcessor;
