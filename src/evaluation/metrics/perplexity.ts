/** Perplexity on held-out targets. */
import { loss } from "./loss.ts";
import type { Metric } from "./metric.ts";

/** e to the mean loss, from 1: between how many equally likely tokens the model is undecided. Only models with the same tokenizer compare. */
export const perplexity = {
  name: "perplexity",
  logName: "eval_perplexity",
  better: "lower",
  compute: (totals) => Math.exp(loss.compute(totals)),
} as const satisfies Metric;
