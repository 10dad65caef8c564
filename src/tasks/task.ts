/**
 * What a task is: what is learned about a document, over which head, from which rows. A task is bound to a model and to the
 * training rows (which labels there are), and the bound task does the rest: examples, targets, loss, metrics, files.
 */
import type { z } from "zod";
import type { TokenizedExample } from "../data/batch.ts";
import type { Collator } from "../data/collators.ts";
import type { Dataset, OverlongPolicy, SourceRow } from "../data/dataset.ts";
import type { DataFormat } from "../data/formats/format.ts";
import type { LossOn } from "../data/templates/tokenize-sample.ts";
import type { Tokenizer } from "../data/tokenizers/tokenizer.ts";
import type { ScoredDocument } from "../evaluation/held-out.ts";
import type { Scores } from "../evaluation/task-metrics/task-metric.ts";
import type { AskedPrompt } from "../evaluation/written-texts.ts";
import type { HeadChoice } from "../models/label-heads.ts";
import type { Model } from "../models/model.ts";
import type { LabelObjective } from "../objectives/objective.ts";

// biome-ignore lint/suspicious/noExplicitAny: a registry holds tasks of many config types
export interface Task<Config = any> {
  readonly name: string;
  readonly summary: string;
  readonly configSchema: z.ZodType<Config>;
  /** Row formats that it reads, in the order in which detection tries them. */
  readonly formats: readonly DataFormat[];
  /** Metrics of what its models write, of which a run chooses; none where they write nothing that could be right or wrong. */
  readonly textMetrics?: readonly string[];
  /** True if models of this kind do it by nature, so that it is their default. */
  isNatural(model: Model): boolean;
  /** @throws ConfigError or DataError if labels are missing or contradict the checkpoint; UnsupportedError if the model cannot do it */
  bind(input: TaskInput<Config>): BoundTask;
}

export interface TaskInput<Config> {
  readonly config: Config;
  /** Without a head for labels. */
  readonly model: Model;
  /** config.json of the checkpoint. */
  readonly checkpointConfig: Readonly<Record<string, unknown>>;
  /** What is trained on: labels are collected from these. Absent where a finished model is used. */
  readonly training?: { readonly rows: readonly SourceRow[]; readonly format: string };
}

export interface BoundTask {
  readonly name: string;
  /** The head that stands on the model; the vocabulary where absent. */
  readonly head?: HeadChoice;
  /** Instead of the run's own objective. */
  readonly objective?: LabelObjective;
  readonly collator: Collator;
  /** `task_type` in adapter_config.json. */
  readonly peftTaskType: string;
  /** @throws DataError naming the row, if one cannot be read; or if nothing is left to learn from */
  prepare(rows: readonly SourceRow[], options: PrepareTaskOptions): Dataset;
  /** What one epoch sees of the examples, where that is not the examples themselves; the same for the same seed and epoch. */
  forEpoch?(examples: readonly TokenizedExample[], at: { readonly seed: number; readonly epoch: number }): readonly TokenizedExample[];
  /** What metrics are computed from. @param scored held-out examples with what the model said of them */
  score?(scored: readonly ScoredDocument[]): Scores;
  /** Questions of rows with their answers, for the metrics of what is written; rows whose question is too long are left out.
   * @throws DataError naming the row, if nothing is asked in it */
  ask?(rows: readonly SourceRow[], options: AskOptions): readonly AskedPrompt[];
  /** How the finished model is used; language models are used by generating. */
  readonly inference?: Inference;
  /** Fields of config.json that say what the labels mean. */
  readonly configFields?: Readonly<Record<string, unknown>>;
  /** The configuration with which the task is bound again to the finished model. */
  readonly resolvedConfig: Readonly<Record<string, unknown>>;
}

export interface PrepareTaskOptions {
  readonly tokenizer: Tokenizer;
  readonly model: Model;
  readonly format: string;
  readonly lossOn: LossOn;
  readonly maxLength: number;
  readonly overlong: OverlongPolicy;
}

export type AskOptions = Pick<PrepareTaskOptions, "tokenizer" | "model" | "format" | "maxLength">;

/** A model at work: no labels are known. */
export interface Inference {
  /** Columns of a row that it reads, as a user would name them. */
  readonly reads: string;
  /** @throws DataError naming the row, if one cannot be read */
  prepare(rows: readonly SourceRow[], options: PrepareInferenceOptions): readonly TokenizedExample[];
  /** One entry for each row, in order: what is printed as JSON. */
  show(scored: readonly ScoredDocument[]): readonly Readonly<Record<string, unknown>>[];
}

export type PrepareInferenceOptions = Pick<PrepareTaskOptions, "tokenizer" | "model" | "maxLength">;
