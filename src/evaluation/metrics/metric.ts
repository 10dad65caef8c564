/** What every metric has in common: one number from the totals of an evaluation, weighted by token. */
export interface EvaluationTotals {
  /** Sum of target losses, nats. */
  readonly lossSum: number;
  /** Targets. */
  readonly tokens: number;
  /** Targets whose likeliest prediction is right. */
  readonly correct: number;
}

export interface Metric {
  readonly name: string;
  /** Column of metrics.jsonl, as in the Hugging Face Trainer. */
  readonly logName: `eval_${string}`;
  readonly better: "lower" | "higher";
  /** NaN without targets. */
  compute(totals: EvaluationTotals): number;
}
