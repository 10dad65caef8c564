import { expect, test } from "vitest";
import { computeMetrics } from "./registry.ts";

test("a model that gives every one of 8 tokens the same probability has perplexity 8", () => {
  const metrics = computeMetrics({ lossSum: 40 * Math.log(8), tokens: 40, correct: 5 });
  expect(metrics.eval_loss).toBeCloseTo(Math.log(8), 12);
  expect(metrics.eval_perplexity).toBeCloseTo(8, 12);
  expect(metrics.eval_token_accuracy).toBe(0.125);
});

test("without targets there is no number", () => {
  expect(Object.values(computeMetrics({ lossSum: 0, tokens: 0, correct: 0 }))).toEqual([Number.NaN, Number.NaN, Number.NaN]);
});
