/**
 * Prompt tuning: trained embeddings stand in front of every document as virtual tokens; the model itself is frozen.
 * Lester et al. 2021, https://arxiv.org/abs/2104.08691. Differs from PEFT: a document's first token is not predicted (there the last
 * virtual token predicts it), so that base and tuned model are measured on the same tokens; and the rows start as words by default.
 */
import { z } from "zod";
import { ConfigError } from "../base/errors.ts";
import type { Random } from "../base/random.ts";
import type { ModelHooks, SegmentBuilder } from "../models/segment-builder.ts";
import type { Value } from "../tensor/graph.ts";
import { constant, gather, greaterOrEqual, reshape, sub, where } from "../tensor/ops/index.ts";
import {
  type AddedParameter,
  type AttachedMethod,
  checkVirtualTokens,
  defineMethod,
  type MethodTarget,
  type ParameterData,
  wordEmbedding,
} from "./method.ts";

const configSchema = z.strictObject({
  name: z.literal("prompt-tuning"),
  numVirtualTokens: z.int().positive().default(20).describe("Virtual tokens in front of every document. 8 to 100 is usual."),
  promptTuningInit: z
    .enum(["SAMPLE_VOCAB", "TEXT", "RANDOM"])
    .default("SAMPLE_VOCAB")
    .describe("Where they start: as random words of the vocabulary, as a text, or as normal noise."),
  promptTuningInitText: z.string().min(1).optional().describe("The text for TEXT, repeated or cut to the number of virtual tokens."),
});
export type PromptTuningConfig = z.output<typeof configSchema>;

/** The name in PEFT's file, and ours. */
export const promptName = "prompt_embeddings";

export const promptTuning = defineMethod({
  name: "prompt-tuning",
  summary: "Trained virtual tokens in front of every document. The smallest adapter: a few embedding rows.",
  paper: "https://arxiv.org/abs/2104.08691",
  configSchema,
  peftType: "PROMPT_TUNING",

  attach(target: MethodTarget, config: PromptTuningConfig): AttachedMethod {
    const { numVirtualTokens: count } = config;
    checkVirtualTokens(count, target.model);
    const prompt: AddedParameter = {
      ...{ name: promptName, shape: [count, target.model.hiddenSize], kind: "embedding" },
      initialise: startOf(target, config),
    };
    return {
      hooks: promptHooks(target, (build) => build.parameter(prompt)),
      added: [prompt],
      trains: (name) => name === promptName,
      virtualTokens: { count, as: "embeddings" },
      adapter: {
        config: (baseModel) => ({
          ...promptLearningConfig({ peftType: "PROMPT_TUNING", baseModel, count, target }),
          prompt_tuning_init: config.promptTuningInit,
          prompt_tuning_init_text: config.promptTuningInitText ?? null,
          tokenizer_name_or_path: config.promptTuningInit === "TEXT" ? baseModel : null,
          tokenizer_kwargs: null,
        }),
        fileName: (name) => name,
        unpack: (tensors) => firstRows(tensors, count),
      },
    };
  },

  /** The values come from the file, so how they once began does not matter. */
  fromPeft: (config): PromptTuningConfig =>
    configSchema.parse({ name: "prompt-tuning", numVirtualTokens: config.num_virtual_tokens, promptTuningInit: "RANDOM" }),
});

/** PEFT holds a second prompt for the decoder of an encoder-decoder, which it does not use. */
export function firstRows(tensors: ReadonlyMap<string, ParameterData>, count: number): ReadonlyMap<string, ParameterData> {
  const whole = tensors.get(promptName);
  if (whole?.shape[0] !== 2 * count) return tensors;
  const width = whole.shape[1]!;
  return new Map([...tensors, [promptName, { shape: [count, width], data: whole.data.subarray(0, count * width) }]]);
}

/** Looks placeholder ids (the vocabulary's size and up) up in the prompt [count, C] instead of the embedding. */
export function promptHooks(target: MethodTarget, prompt: (build: SegmentBuilder) => Value): ModelHooks {
  const table = wordEmbedding(target);
  return {
    rows({ table: { name }, indices, lookUp }, build) {
      // A tied table is also asked for the rows of labels, and those are never virtual.
      if (name !== table.name || indices !== build.graph.inputs.get("inputIds")) return lookUp(indices);
      const zero = constant(build.graph, 0, "int64");
      const isVirtual = greaterOrEqual(indices, constant(build.graph, target.model.vocabSize, "int64"));
      const virtual = gather(prompt(build), where(isVirtual, sub(indices, target.model.vocabSize), zero));
      return where(reshape(isVirtual, [...indices.shape, 1]), virtual, lookUp(where(isVirtual, zero, indices)));
    },
  };
}

/** The fields that PEFT shares between prompt tuning, P-tuning and prefix tuning. */
export const promptLearningConfig = ({ peftType, baseModel, count, target: { model } }: PromptLearning): Record<string, unknown> => ({
  peft_type: peftType,
  task_type: "CAUSAL_LM",
  base_model_name_or_path: baseModel,
  inference_mode: true,
  num_virtual_tokens: count,
  token_dim: model.hiddenSize,
  num_transformer_submodules: 1,
  num_attention_heads: model.numAttentionHeads,
  num_layers: model.numHiddenLayers,
  modules_to_save: null,
});

interface PromptLearning {
  readonly peftType: string;
  readonly baseModel: string;
  readonly count: number;
  readonly target: MethodTarget;
}

function startOf(target: MethodTarget, config: PromptTuningConfig): AddedParameter["initialise"] {
  const { numVirtualTokens: count, promptTuningInit: init, promptTuningInitText: text } = config;
  const { hiddenSize, vocabSize } = target.model;
  if (init === "RANDOM") return (random) => Float32Array.from({ length: count * hiddenSize }, () => random.normal());
  const rowsOf = async (base: Promise<ParameterData>, ids: readonly number[]): Promise<Float32Array> => {
    const { data } = await base;
    const rows = new Float32Array(count * hiddenSize);
    ids.forEach((id, i) => rows.set(data.subarray(id * hiddenSize, (id + 1) * hiddenSize), i * hiddenSize));
    return rows;
  };
  const table = wordEmbedding(target).name;
  const sampled = (random: Random): number[] => Array.from({ length: count }, () => random.integer(vocabSize));
  if (init === "SAMPLE_VOCAB") return (random, base) => rowsOf(base(table), sampled(random));
  if (text === undefined)
    throw new ConfigError("method.promptTuningInitText: missing; promptTuningInit TEXT starts from it. Give a text, or use SAMPLE_VOCAB.");
  const ids = target.tokenizer?.encode(text, { addSpecialTokens: true }) ?? [];
  if (ids.length === 0) throw new ConfigError(`method.promptTuningInitText: ${JSON.stringify(text)} gives no tokens with this tokenizer.`);
  return (_, base) =>
    rowsOf(
      base(table),
      Array.from({ length: count }, (_unused, i) => ids[i % ids.length]!),
    );
}
