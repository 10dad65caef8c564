/** A model from nothing: tokenizer trained on the data, random weights, in the layout of a Hugging Face checkpoint. */
import { z } from "zod";
import type { FileContent } from "../base/folder-shelf.ts";
import { float32ToBfloat16 } from "../base/half.ts";
import type { Random } from "../base/random.ts";
import { trainBpe } from "../data/tokenizers/train-bpe.ts";
import { createModel } from "../models/families/registry.ts";
import type { ParameterSpec } from "../models/segment-builder.ts";
import { describeModel } from "../models/segments.ts";
import { bytesOf } from "../models/weights/element-types.ts";
import { encodeSafetensors, type TensorToWrite } from "../models/weights/safetensors.ts";

export const pretrainSchema = z.strictObject({
  architecture: z
    .looseObject({ model_type: z.string().describe("The family: `tunesmith list models`.") })
    .describe("config.json of the new model without vocab_size and token ids; Hugging Face keys."),
  tokenizer: z
    .strictObject({
      vocabSize: z.int().min(300).describe("Tokens, the 256 bytes and three special ones (with an encoder-decoder 103) included."),
      chatTemplate: z.string().optional().describe("Jinja source."),
    })
    .describe("Byte-level BPE, learned from the training rows."),
  initializerRange: z.number().positive().default(0.02).describe("Deviation of the random weights."),
});
export type PretrainConfig = z.output<typeof pretrainSchema>;

const [bos, eos, pad] = ["<s>", "</s>", "<pad>"];
/** Of encoder-decoders, in T5's order: the ids descend. */
const sentinels = Array.from({ length: 100 }, (_, i) => `<extra_id_${99 - i}>`);
const classOf: Readonly<Record<string, string>> = { t5: "T5ForConditionalGeneration", mt5: "MT5ForConditionalGeneration" };

/** Sources and targets of encoder-decoders end with the end token. */
const endAfter = {
  type: "TemplateProcessing",
  single: [{ Sequence: { id: "A", type_id: 0 } }, { SpecialToken: { id: eos, type_id: 0 } }],
  pair: ["A", "B"].flatMap((id) => [{ Sequence: { id, type_id: 0 } }, { SpecialToken: { id: eos, type_id: 0 } }]),
  special_tokens: { [eos!]: { id: eos, ids: [1], tokens: [eos] } },
};

/** Weights in bfloat16: half the size, and training holds its own float32 copy. */
export function initialCheckpointFiles({
  config,
  texts,
  random,
}: {
  config: PretrainConfig;
  texts: Iterable<string>;
  random: Random;
}): Record<string, FileContent> {
  const isEncoderDecoder = createModel({ ...config.architecture, vocab_size: config.tokenizer.vocabSize }).encoder !== undefined;
  const specialTokens = [bos, eos, pad, ...(isEncoderDecoder ? sentinels : [])];
  const trained = trainBpe({ texts, vocabSize: config.tokenizer.vocabSize, specialTokens });
  const definition = isEncoderDecoder ? { ...trained, post_processor: endAfter } : trained;
  const vocabSize = Object.keys((definition.model as { vocab: object }).vocab).length;
  const ids = { bos_token_id: 0, eos_token_id: 1, pad_token_id: 2 };
  const start = isEncoderDecoder ? { decoder_start_token_id: ids.pad_token_id } : {};
  const architecture = { ...config.architecture, vocab_size: vocabSize, ...ids, ...start, torch_dtype: "bfloat16" };
  const { parameters } = describeModel(createModel(architecture));
  const tensors = new Map<string, TensorToWrite>();
  for (const spec of [...parameters].sort((a, b) => (a.name < b.name ? -1 : 1))) {
    const values = initialValues(spec, { random, deviation: config.initializerRange });
    tensors.set(spec.name, { dtype: "BF16", shape: spec.shape, read: async () => bytesOf(float32ToBfloat16(values)) });
  }
  const tokenizerConfig = {
    bos_token: bos,
    eos_token: eos,
    pad_token: pad,
    tokenizer_class: "PreTrainedTokenizerFast",
    ...(config.tokenizer.chatTemplate && { chat_template: config.tokenizer.chatTemplate }),
  };
  const json = (value: unknown): string => `${JSON.stringify(value, null, 2)}\n`;
  return {
    "config.json": json({ architectures: [classOf[config.architecture.model_type] ?? "LlamaForCausalLM"], ...architecture }),
    "generation_config.json": json({ ...ids, ...start }),
    "tokenizer.json": JSON.stringify(definition),
    "tokenizer_config.json": json(tokenizerConfig),
    "model.safetensors": encodeSafetensors(tensors),
  };
}

/** Normal weights, norms at one, biases at zero, as GPT-2 and Llama start. */
function initialValues({ shape, kind, name }: ParameterSpec, { random, deviation }: { random: Random; deviation: number }): Float32Array {
  const size = shape.reduce((product, n) => product * n, 1);
  if (kind === "norm") return new Float32Array(size).fill(1);
  if (kind === "bias" || name.endsWith(".bias")) return new Float32Array(size);
  return Float32Array.from({ length: size }, () => deviation * random.normal());
}
