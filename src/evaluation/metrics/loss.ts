/** Cross-entropy on held-out targets. */
import type { Metric } from "./metric.ts";

/** Mean cross-entropy over targets, nats. */
export const loss = {
  name: "loss",
  logName: "eval_loss",
  better: "lower",
  compute: ({ lossSum, tokens }) => lossSum / tokens,
} as const satisfies Metric;
