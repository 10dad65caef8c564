/** A model of a run on its held-out rows: loss and the task's metrics, and metrics of what it writes where they were asked for. */
import { DataError } from "../base/errors.ts";
import type { SourceRow } from "../data/dataset.ts";
import { evaluateHeldOut, type HeldOutResult } from "../evaluation/held-out.ts";
import { type AskedPrompt, type WritingSettings, withTexts, writeTexts } from "../evaluation/written-texts.ts";
import type { LoadedModel } from "../execution/loaded-model.ts";
import type { SegmentedTrainingEngine } from "../execution/training-engine.ts";
import { chooseTextMetrics } from "../tasks/registry.ts";
import type { AskOptions, BoundTask } from "../tasks/task.ts";
import type { EvaluationConfig } from "./config.ts";

/** What the model of a run is asked on held-out rows. */
export interface WritingPlan {
  readonly prompts: readonly AskedPrompt[];
  readonly settings: WritingSettings;
  /** Rows that are not asked because their question is too long. */
  readonly leftOut: number;
}

/** @throws ConfigError for a metric that the task does not offer; DataError naming a row that asks nothing */
export function planWriting(
  { metrics: asked, maxRows, ...settings }: EvaluationConfig,
  { task, rows, ...options }: AskOptions & { readonly task: BoundTask; readonly rows: readonly SourceRow[] },
): WritingPlan | undefined {
  const metrics = chooseTextMetrics(asked, task);
  if (metrics.length === 0) return undefined;
  const some = rows.slice(0, maxRows);
  const prompts = task.ask!(some, options);
  if (prompts.length === 0 && some.length > 0)
    throw new DataError(
      `none of ${some.length} held-out questions is shorter than data.maxLength ${options.maxLength}. Raise it, or leave out evaluation.metrics.`,
    );
  return { prompts, settings: { ...settings, metrics }, leftOut: some.length - prompts.length };
}

interface Measured {
  readonly loaded: LoadedModel;
  readonly engine: Pick<SegmentedTrainingEngine, "evaluate">;
}

interface HeldOutRows {
  readonly task: BoundTask;
  readonly examples: Parameters<typeof evaluateHeldOut>[1];
  readonly writing: WritingPlan | undefined;
  /** Tokens that a batch may hold. */
  readonly batchTokens?: number;
}

export async function measureHeldOut(
  { loaded, engine }: Measured,
  { task, examples, writing, batchTokens }: HeldOutRows,
): Promise<HeldOutResult> {
  const result = await evaluateHeldOut(engine, examples, { ...task, ...(batchTokens && { batchTokens }) });
  return writing ? withTexts(result, await writeTexts(loaded, writing)) : result;
}
