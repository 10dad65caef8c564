/** What a fine-tuning method is: which parameters it trains, which it adds, and where it reaches into the model. */
import type { z } from "zod";
import { ConfigError, UnsupportedError } from "../base/errors.ts";
import type { Random } from "../base/random.ts";
import type { Tokenizer } from "../data/tokenizers/tokenizer.ts";
import type { Model } from "../models/model.ts";
import type { ModelHooks, ParameterSpec } from "../models/segment-builder.ts";
import type { LinearModule } from "../models/segments.ts";

/** A parameter of the base model by name, in float32. */
export type BaseWeights = (name: string) => Promise<ParameterData>;

/** A parameter that the method adds, with its start value. */
export interface AddedParameter extends ParameterSpec {
  /** @param base the checkpoint's weights, and `held` as the model has them: changed by the method, quantised */
  initialise(random: Random, base: BaseWeights, held: BaseWeights): Float32Array | Promise<Float32Array>;
}

export interface MethodTarget {
  readonly model: Model;
  readonly parameters: readonly ParameterSpec[];
  readonly linears: readonly LinearModule[];
  /** The quantised base; absent where the base is held in floating point. */
  readonly quantised?: {
    readonly bits: number;
    /** A weight in its own layout as its codes have it. */
    roundTrip(weight: Float32Array, linear: LinearModule): Float32Array;
  };
  /** Absent where a model is opened without its tokenizer. */
  readonly tokenizer?: Pick<Tokenizer, "encode" | "idOf">;
}

/** The table that token ids are looked up in. */
export function wordEmbedding({ model, parameters }: Pick<MethodTarget, "model" | "parameters">): ParameterSpec {
  const table = parameters.find(({ kind, shape }) => kind === "embedding" && shape[0] === model.vocabSize);
  if (!table) throw new UnsupportedError(`${model.modelType}: no embedding with ${model.vocabSize} rows, which this method needs.`);
  return table;
}

/** A method with its configuration, bound to one model. */
export interface AttachedMethod {
  readonly hooks: ModelHooks;
  readonly added: readonly AddedParameter[];
  /** True if the parameter of this name (the model's own or an added one) receives gradients. */
  trains(parameter: string): boolean;
  /** Learning rate of a trained parameter as a multiple of the run's; 1 where absent. */
  learningRateFactor?(parameter: string): number;
  /** Base parameters that the method changes while they are loaded, with their new values in float32. */
  readonly changedBase?: ReadonlyMap<string, (base: BaseWeights, random: Random) => Promise<Float32Array>>;
  /** Trained positions in front of every document: rows that stand as tokens, or keys and values in every layer (`ModelHooks.past`). */
  readonly virtualTokens?: VirtualPositions;
  /** How the trained state is written for Python PEFT; absent where a method has no adapter of its own (full fine-tuning). */
  readonly adapter?: AdapterFormat;
}

export interface VirtualPositions {
  readonly count: number;
  readonly as: "embeddings" | "keyValues";
}

/** What the linear layers of the base read from the training data. */
export interface ObservedInputs {
  /** Layers in order of use; those of a group read the same values. */
  readonly groups: readonly (readonly LinearModule[])[];
  readonly batchesInRound: number;
  /** The training batches again and again; of each, for every group, the rows [tokens, inFeatures] that stand for supervised or for all tokens. */
  batches(tokens: "supervised" | "all"): AsyncIterable<readonly Float32Array[]>;
}

/** @throws ConfigError if that many virtual tokens leave no room for others */
export function checkVirtualTokens(count: number, { maxPositionEmbeddings }: Model): void {
  if (count >= maxPositionEmbeddings)
    throw new ConfigError(
      `method.numVirtualTokens: ${count} virtual tokens leave no room in the model's ${maxPositionEmbeddings} positions (max_position_embeddings). 8 to 100 is usual.`,
    );
}

/** Dense float32 values with their shape, row-major. */
export interface ParameterData {
  readonly shape: readonly number[];
  readonly data: Float32Array;
}

export interface AdapterFormat {
  /** Where the tensors stand; adapter_model.safetensors, PEFT's file, where absent. */
  readonly weightsFile?: string;
  /** Fields that Python must read as floats, so that whole numbers are written as 4.0. */
  readonly floatFields?: readonly string[];
  /** Content of adapter_config.json, PEFT's field names. */
  config(baseModel: string): Record<string, unknown>;
  /** Name in the file for a parameter of ours. */
  fileName(parameter: string): string;
  /** Tensors that stand in the file though each is another parameter of the model: name there -> parameter. PEFT saves modules whole. */
  readonly shared?: ReadonlyMap<string, string>;
  /** True for parameters that are not trained and yet belong in the file. */
  holds?(parameter: string): boolean;
  /** Where the file holds something else than one tensor for each parameter: what is written for the tensors under their `fileName`, */
  pack?(tensors: ReadonlyMap<string, ParameterData>): ReadonlyMap<string, ParameterData>;
  /** and these tensors from what a file holds. @param config adapter_config.json
   * @throws CheckpointError if the file belongs to another base */
  unpack?(tensors: ReadonlyMap<string, ParameterData>, config: Readonly<Record<string, unknown>>): ReadonlyMap<string, ParameterData>;
  /** The base weight with the adapter folded in, or undefined where this weight is not touched. Absent where the method is no change of weights. */
  merge?(parameter: string, base: ParameterData, read: (name: string) => ParameterData): ParameterData | undefined;
  /** Undoes `merge`: the base weight out of the merged one. Absent where that cannot be done. */
  unmerge?(parameter: string, merged: ParameterData, read: (name: string) => ParameterData): ParameterData | undefined;
}

// biome-ignore lint/suspicious/noExplicitAny: a registry holds methods of many config types
export interface Method<Config = any> {
  readonly name: string;
  readonly summary: string;
  readonly paper?: string;
  readonly configSchema: z.ZodType<Config>;
  attach(target: MethodTarget, config: Config): AttachedMethod;
  /** True if the configuration asks for a start that is found in the training data; then `attachToData` takes the place of `attach`. */
  readsData?(config: Config): boolean;
  attachToData?(target: MethodTarget, config: Config, inputs: ObservedInputs): Promise<AttachedMethod>;
  /** Reads adapter_config.json of this kind: PEFT's `peft_type`, or `adapterhub:` and an architecture. Absent where there is no such file.
   * `tensors` are the names in the file beside it. */
  readonly peftType?: string;
  fromPeft?(config: Readonly<Record<string, unknown>>, tensors: readonly string[]): Config;
}

export const defineMethod = <Schema extends z.ZodType, M extends Method<z.output<Schema>>>(
  method: M & { readonly configSchema: Schema },
): M => method;
