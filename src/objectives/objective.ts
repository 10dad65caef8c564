/** What an objective is: from the head of a model to a loss, with the metrics that come for free. */
import type { z } from "zod";
import type { HeadOutput } from "../models/model.ts";
import type { SegmentBuilder } from "../models/segment-builder.ts";
import type { TensorType, Value } from "../tensor/graph.ts";

export interface ObjectiveOutput {
  /** Loss of every target in nats, before weights, [N]. */
  readonly targetLosses: Value;
  /** Sum of weights times losses, []: what is differentiated. */
  readonly lossSum: Value;
  /** 1 where the most likely prediction is the label, [N]. */
  readonly correct: Value;
  /** What metrics are computed from, [N, K]. */
  readonly predictions?: Value;
}

/** The likeliest predictions of the reference model at each target, [N, k], and what they leave. */
export interface ReferenceTop {
  /** int64 [N, k]: row of the target times the size of the vocabulary plus the token. */
  readonly positions: Value;
  /** [N, k]. */
  readonly probabilities: Value;
  /** [N]: mass of all other tokens. */
  readonly rest: Value;
  /** [N]: sum p log p over the k tokens and the rest. */
  readonly negativeEntropy: Value;
}

interface Targets<Config> {
  /** int64 [N]. */
  readonly labels: Value;
  /** float32 [N]. */
  readonly weights: Value;
  /** A further input of the head, which the batch holds under this name (`Batch.targets`). */
  target(name: string, type: TensorType): Value;
  readonly build: SegmentBuilder;
  readonly config: Config;
}

export interface ObjectiveInput<Config> extends Targets<Config> {
  readonly head: HeadOutput;
  /** Logits of the reference model, [N, V]; only while training an objective that reads them. */
  readonly referenceLogits?: Value | undefined;
  /** Instead of the logits, where the objective is content with the top. */
  readonly referenceTop?: ReferenceTop | undefined;
}

// biome-ignore lint/suspicious/noExplicitAny: a registry holds objectives of many config types
export interface Objective<Config = any> {
  readonly name: string;
  readonly summary: string;
  readonly configSchema: z.ZodType<Config>;
  build(input: ObjectiveInput<Config>): ObjectiveOutput;
  /** True if it compares with the predictions of a second, frozen model while training; evaluation does without. */
  readonly readsReference?: boolean;
  /** How many of the reference's likeliest predictions are enough, so that they can be made before training; undefined where all are read. */
  referenceTop?(config: Config): { readonly k: number; readonly temperature: number } | undefined;
}

export interface LabelObjectiveInput<Config> extends Targets<Config> {
  /** Of the model's label head, [N, numLabels]. */
  readonly logits: Value;
}

/** The same over a head for labels. All rows of a batch come at once. */
// biome-ignore lint/suspicious/noExplicitAny: tasks bring objectives of many config types
export interface LabelObjective<Config = any> {
  readonly name: string;
  readonly summary: string;
  readonly readsLabels: true;
  /** What has a label and a loss: each row of the logits, or each example, whose documents or tokens are judged together. */
  readonly labelsPer: "logits" | "example";
  /** What has a row in `predictions`. */
  readonly predictionsPer: "label" | "token" | "document";
  build(input: LabelObjectiveInput<Config>): ObjectiveOutput;
}
