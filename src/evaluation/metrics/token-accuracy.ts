/** Accuracy of the likeliest prediction on held-out targets. */
import type { Metric } from "./metric.ts";

/** Share of targets whose likeliest prediction is right, 0 to 1. */
export const tokenAccuracy = {
  name: "token-accuracy",
  logName: "eval_token_accuracy",
  better: "higher",
  compute: ({ correct, tokens }) => correct / tokens,
} as const satisfies Metric;
