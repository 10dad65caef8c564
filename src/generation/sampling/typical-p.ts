/**
 * Locally typical sampling: Meister et al. 2022, https://arxiv.org/abs/2202.00666. Tokens whose surprise is nearest to the
 * entropy stay until they sum to p; one always stays.
 */
import { z } from "zod";
import type { LogitsProcessor } from "./processor.ts";
import { exponentials } from "./softmax.ts";

export const typicalP = {
  name: "typicalP",
  valueSchema: z
    .number()
    .gt(0)
    .max(1)
    .describe("only the tokens about as surprising as is usual here, until they reach this probability, may be drawn; 1 turns it off"),
  neutral: 1,
  onlyForDraws: true,
  process(logits, p) {
    const { weights, sum } = exponentials(logits);
    const probabilities = weights.map((weight) => weight / sum);
    const entropy = probabilities.reduce((total, q) => (q > 0 ? total - q * Math.log(q) : total), 0);
    const distance = probabilities.map((q) => Math.abs(-Math.log(q) - entropy));
    const order = [...distance.keys()].sort((a, b) => distance[a]! - distance[b]!);
    let before = 0;
    let kept = 0;
    for (const token of order) {
      if (kept > 0 && before >= p) logits[token] = Number.NEGATIVE_INFINITY;
      else kept++;
      before += probabilities[token]!;
    }
  },
} as const satisfies LogitsProcessor;
