/** Random checkpoints of any family with a tokenizer of a few whole words, for tests of the command line. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createRandom } from "../../src/base/random.ts";
import { createModel } from "../../src/models/families/registry.ts";
import { initialiseHead } from "../../src/models/label-heads.ts";
import { describeModel } from "../../src/models/segments.ts";
import { bytesOf } from "../../src/models/weights/element-types.ts";
import { encodeSafetensors, type TensorToWrite } from "../../src/models/weights/safetensors.ts";
import { writeFileAtomic } from "../../src/platform/node/files.ts";

const specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];
export const words = "red green blue warm cold sun rain wind good bad happy sad day night one two three four five six".split(" ");
const sentinels = ["<extra_id_2>", "<extra_id_1>", "<extra_id_0>"];
const vocabulary = [...specials, ...words, "##ly", "##er"];

/** BERT's WordPiece over these words: [CLS] text [SEP]. */
const tokenizerOf = (vocabulary: readonly string[]) => ({
  version: "1.0",
  added_tokens: [...specials, ...sentinels.filter((token) => vocabulary.includes(token))].map((content) => ({
    id: vocabulary.indexOf(content),
    content,
    special: true,
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized: false,
  })),
  normalizer: { type: "BertNormalizer", clean_text: true, handle_chinese_chars: true, strip_accents: null, lowercase: true },
  pre_tokenizer: { type: "BertPreTokenizer" },
  post_processor: {
    type: "TemplateProcessing",
    single: [special("[CLS]", 0), sequence("A", 0), special("[SEP]", 0)],
    pair: [special("[CLS]", 0), sequence("A", 0), special("[SEP]", 0), sequence("B", 1), special("[SEP]", 1)],
    special_tokens: Object.fromEntries(
      ["[CLS]", "[SEP]"].map((token) => [token, { id: token, ids: [specials.indexOf(token)], tokens: [token] }]),
    ),
  },
  decoder: { type: "WordPiece", prefix: "##", cleanup: true },
  model: {
    ...{ type: "WordPiece", unk_token: "[UNK]", continuing_subword_prefix: "##", max_input_chars_per_word: 100 },
    vocab: Object.fromEntries(vocabulary.map((token, id) => [token, id])),
  },
});
function special(id: string, type: number) {
  return { SpecialToken: { id, type_id: type } };
}
function sequence(id: string, type: number) {
  return { Sequence: { id, type_id: type } };
}

/** @param config config.json without the size of the vocabulary
 * @param nameOf the name of a tensor in the file; undefined leaves it out */
export async function writeSmallCheckpoint(
  folder: string,
  config: Readonly<Record<string, unknown>>,
  nameOf: (tensor: string) => string | undefined = (tensor) => tensor,
): Promise<string> {
  mkdirSync(folder, { recursive: true });
  const isEncoderDecoder = config.decoder_start_token_id !== undefined;
  const tokens = isEncoderDecoder ? [...vocabulary, ...sentinels] : vocabulary;
  const whole = {
    ...config,
    vocab_size: tokens.length,
    pad_token_id: 0,
    ...(isEncoderDecoder && { eos_token_id: specials.indexOf("[SEP]") }),
  };
  const random = createRandom(5);
  const tensors = new Map<string, TensorToWrite>();
  for (const spec of describeModel(createModel(whole)).parameters) {
    const values = initialiseHead(spec, random, 0.2);
    const name = nameOf(spec.name);
    if (name !== undefined) tensors.set(name, { dtype: "F32", shape: spec.shape, read: async () => bytesOf(values) });
  }
  await writeFileAtomic(join(folder, "model.safetensors"), encodeSafetensors(tensors));
  writeFileSync(join(folder, "config.json"), JSON.stringify(whole));
  writeFileSync(join(folder, "tokenizer.json"), JSON.stringify(tokenizerOf(tokens)));
  const named = {
    pad_token: "[PAD]",
    unk_token: "[UNK]",
    cls_token: "[CLS]",
    sep_token: "[SEP]",
    mask_token: "[MASK]",
    eos_token: "[SEP]",
  };
  writeFileSync(join(folder, "tokenizer_config.json"), JSON.stringify({ ...named, tokenizer_class: "BertTokenizer" }));
  return folder;
}

export const smallBert = {
  ...{ model_type: "bert", architectures: ["BertForMaskedLM"], hidden_size: 24, num_hidden_layers: 2, num_attention_heads: 3 },
  ...{ intermediate_size: 32, max_position_embeddings: 64, hidden_act: "gelu" },
};
export const smallT5 = {
  ...{ model_type: "t5", architectures: ["T5ForConditionalGeneration"], d_model: 24, d_kv: 8, d_ff: 32, num_layers: 2, num_heads: 3 },
  decoder_start_token_id: 0,
};
