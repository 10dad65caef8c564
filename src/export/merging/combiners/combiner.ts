/** What makes one tensor out of one tensor of every source. */
import { z } from "zod";
import type { Random } from "../../../base/random.ts";
import { majoritySignMethods } from "../task-vectors.ts";

export interface CombineOptions {
  /** One for each tensor. */
  readonly weights: readonly number[];
  /** A stream of this tensor's own, so that the order of tensors does not matter. */
  readonly random: Random;
}

// biome-ignore lint/suspicious/noExplicitAny: a registry holds combiners of many config types
export interface Combiner<Config = any> {
  readonly name: string;
  readonly summary: string;
  readonly paper?: string;
  readonly configSchema: z.ZodObject;
  /** What it is given: differences from a base model (or LoRA factors), or whole weights. */
  readonly of: "task vectors" | "weights";
  /** How many sources it takes; any number where absent. */
  readonly sources?: number;
  /** What is wrong with the weights of a recipe, where something can be. @param given undefined where the recipe has none */
  weightsProblem?(given: readonly number[] | undefined): string | undefined;
  /** @param tensors flat, of equal length; not changed */
  combine(tensors: readonly Float32Array[], options: CombineOptions, config: Config): Float32Array;
}

export const defineCombiner = <Schema extends z.ZodObject, C extends Combiner<z.output<Schema>>>(
  combiner: C & { readonly configSchema: Schema },
): C & { readonly configSchema: Schema } => combiner;

export const density = z.number().gt(0).lte(1).describe("Share of the values that is kept, above 0 to 1.");
export const majoritySignMethod = z
  .enum(majoritySignMethods)
  .default("total")
  .describe("What elects a sign: the sum of the values (total), or how many have it (frequency).");
