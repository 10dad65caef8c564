/** Tokens that a checkpoint wants at the ends of every text (BART): one right behind the decoder's start, one as the last that there is room for. */
import { z } from "zod";
import type { LogitsProcessor } from "./processor.ts";

const none = -1;
const token = z.number().int().min(none);

export const forcedBosTokenId = {
  name: "forcedBosTokenId",
  valueSchema: token.describe("the token behind the first one; -1 turns it off"),
  neutral: none,
  isOfCheckpoint: true,
  process(logits, id, { previousTokens }) {
    if (previousTokens.length === 1) force(logits, id);
  },
} as const satisfies LogitsProcessor;

export const forcedEosTokenId = {
  name: "forcedEosTokenId",
  valueSchema: token.describe("the last token where the longest length is reached; -1 turns it off"),
  neutral: none,
  isOfCheckpoint: true,
  process(logits, id, { previousTokens, promptLength, maxNewTokens }) {
    if (previousTokens.length - promptLength === maxNewTokens - 1) force(logits, id);
  },
} as const satisfies LogitsProcessor;

/** 0 is a probability of 1 among logarithms of probabilities, as beam search has them. */
function force(logits: Float32Array, id: number): void {
  logits.fill(Number.NEGATIVE_INFINITY);
  logits[id] = 0;
}
