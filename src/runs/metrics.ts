/** Rows of metrics.jsonl, with the names that the field's dashboards know. */
import type { EvaluationEvent, StepEvent } from "../trainers/supervised.ts";

export interface MetricsRow {
  readonly step: number;
  readonly epoch?: number;
  readonly loss?: number;
  readonly learning_rate?: number;
  readonly grad_norm?: number;
  readonly tokens_per_second?: number;
  readonly memory_mb?: number;
  readonly eval_loss?: number;
  readonly eval_perplexity?: number;
  readonly eval_token_accuracy?: number;
  /** Since the run began, interruptions left out. */
  readonly wall_seconds: number;
}

export const stepRow = (event: StepEvent, { wallSeconds, memoryBytes }: { wallSeconds: number; memoryBytes: number }): MetricsRow => ({
  step: event.step,
  epoch: event.epoch,
  loss: event.loss,
  learning_rate: event.learningRate,
  grad_norm: event.gradientNorm,
  tokens_per_second: event.tokensPerSecond,
  memory_mb: memoryBytes / 1e6,
  wall_seconds: wallSeconds,
});

export const evaluationRow = (event: EvaluationEvent, wallSeconds: number): MetricsRow => ({
  step: event.step,
  eval_loss: event.loss,
  eval_perplexity: Math.exp(event.loss),
  eval_token_accuracy: event.tokenAccuracy,
  wall_seconds: wallSeconds,
});

/** TensorBoard tags for a row. */
export function scalarsOf(row: MetricsRow): Record<string, number> {
  const { step: _step, wall_seconds: _wall, ...values } = row;
  return Object.fromEntries(Object.entries(values).map(([name, value]) => [name.startsWith("eval_") ? `eval/${name.slice(5)}` : `train/${name}`, value as number]));
}

/** Rows of a file. A line that a kill cut short is left out. */
export function parseMetrics(text: string): MetricsRow[] {
  return text.split("\n").flatMap((line) => {
    try {
      const row: unknown = JSON.parse(line);
      return typeof row === "object" && row !== null && "step" in row ? [row as MetricsRow] : [];
    } catch {
      return [];
    }
  });
}
