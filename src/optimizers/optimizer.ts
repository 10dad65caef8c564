/** What an optimizer is: the update of one flat float32 vector, as a tensor graph, so that it runs on any device. */
import type { z } from "zod";
import type { Graph, Value } from "../tensor/graph.ts";

export interface UpdateInput {
  readonly graph: Graph;
  /** [size]. */
  readonly parameter: Value;
  /** [size], already scaled and clipped. */
  readonly gradient: Value;
  /** One value [size] for each of `stateNames`. */
  readonly state: Readonly<Record<string, Value>>;
  /** One scalar [] for each name that `hyperValues` gives. */
  readonly hyper: Readonly<Record<string, Value>>;
}

// biome-ignore lint/suspicious/noExplicitAny: a registry holds optimizers of many config types
export interface Optimizer<Config = any> {
  readonly name: string;
  readonly summary: string;
  readonly paper: string;
  readonly configSchema: z.ZodType<Config>;
  /** Vectors of the parameters' size that live from step to step, starting at zero. */
  readonly stateNames: readonly string[];
  /** Scalars of one step. @param step counts from 1 @param decays false for norms and biases */
  hyperValues(config: Config, at: { step: number; learningRate: number; decays: boolean }): Readonly<Record<string, number>>;
  buildUpdate(input: UpdateInput, config: Config): { readonly parameter: Value; readonly state: Readonly<Record<string, Value>> };
}
