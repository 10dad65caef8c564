/** What an objective is: from the head of a model to a loss, with the metrics that come for free. */
import type { z } from "zod";
import type { HeadOutput } from "../models/causal-lm.ts";
import type { SegmentBuilder } from "../models/segment-builder.ts";
import type { Value } from "../tensor/graph.ts";

export interface ObjectiveOutput {
  /** Loss of every target in nats, before weights, [N]. */
  readonly targetLosses: Value;
  /** Sum of weights times losses, []: what is differentiated. */
  readonly lossSum: Value;
  /** 1 where the most likely token is the label, [N]. */
  readonly correct: Value;
}

// biome-ignore lint/suspicious/noExplicitAny: a registry holds objectives of many config types
export interface Objective<Config = any> {
  readonly name: string;
  readonly summary: string;
  readonly configSchema: z.ZodType<Config>;
  /** @param labels int64 [N] @param weights float32 [N] */
  build(input: { head: HeadOutput; labels: Value; weights: Value; build: SegmentBuilder; config: Config }): ObjectiveOutput;
}
