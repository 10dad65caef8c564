/** vocab.json and merges.txt: byte-level BPE of GPT-2, and of those that took it over with other special tokens: RoBERTa, BART, OPT. */
import { UnsupportedError } from "../../../base/errors.ts";
import { addedToken, type ConvertedTokenizer, collectAddedTokens, type JsonObject, surroundingTokens, tokenText } from "./definition.ts";

const gpt2 = { bos_token: "<|endoftext|>", eos_token: "<|endoftext|>", unk_token: "<|endoftext|>" };
const roberta = {
  ...{ bos_token: "<s>", eos_token: "</s>", unk_token: "<unk>", cls_token: "<s>", sep_token: "</s>", pad_token: "<pad>" },
  // A mask takes the space before it.
  mask_token: { content: "<mask>", lstrip: true },
};

/** By tokenizer_class without its ending, or else by model_type. */
const kinds: Readonly<Record<string, { readonly usual: JsonObject; readonly isSurrounded: boolean }>> = {
  gpt2: { usual: gpt2, isSurrounded: false },
  opt: { usual: { ...roberta, mask_token: undefined, bos_token: "</s>", add_bos_token: true }, isSurrounded: false },
  roberta: { usual: roberta, isSurrounded: true },
  bart: { usual: roberta, isSurrounded: true },
};

export interface VocabAndMerges {
  /** vocab.json. */
  readonly vocab: Readonly<Record<string, number>>;
  /** The file merges.txt. */
  readonly merges: string;
  readonly config: JsonObject;
  readonly addedTokens: JsonObject;
  /** Of config.json. */
  readonly modelType: string | undefined;
  readonly name: string;
}

/** @throws UnsupportedError for a family whose way of cutting words these files do not say */
export function fromMergesTxt({ vocab, merges, config: given, addedTokens, modelType, name }: VocabAndMerges): ConvertedTokenizer {
  const ofClass = String(given.tokenizer_class ?? "")
    .replace(/Tokenizer(Fast)?$/, "")
    .toLowerCase();
  const kind = modelType === "opt" ? "opt" : ofClass || modelType || ("<mask>" in vocab ? "roberta" : "gpt2");
  const found = kinds[kind];
  if (!found)
    throw new UnsupportedError(
      `${name} has vocab.json and merges.txt, but these do not say how a tokenizer of the kind "${kind}" cuts text into words; known are ${Object.keys(kinds).join(", ")}. Save the tokenizer with save_pretrained from a fast tokenizer, which writes tokenizer.json.`,
    );
  const config = { ...found.usual, ...given };
  const idOf = (token: string): number | undefined => vocab[token];
  const [begin, end] = [tokenText(config.cls_token ?? config.bos_token), tokenText(config.sep_token ?? config.eos_token)] as [
    string,
    string,
  ];
  const addPrefixSpace = config.add_prefix_space === true;
  const byteLevel = { type: "ByteLevel", add_prefix_space: addPrefixSpace, trim_offsets: true, use_regex: true };
  return {
    config,
    definition: {
      version: "1.0",
      added_tokens: collectAddedTokens({
        ...{ config, addedTokens, idOf },
        usual: Object.entries(vocab)
          .filter(([content]) => content === "<|endoftext|>")
          .map(([content, id]) => addedToken({ id, content })),
      }),
      normalizer: null,
      pre_tokenizer: byteLevel,
      post_processor: found.isSurrounded ? surroundingTokens({ before: begin, between: [end, end], after: end, idOf }) : byteLevel,
      decoder: { ...byteLevel, add_prefix_space: true },
      model: {
        ...{ type: "BPE", dropout: null, unk_token: null, continuing_subword_prefix: "", end_of_word_suffix: "" },
        ...{ fuse_unk: false, byte_fallback: false, vocab, merges: mergesOf(merges) },
      },
    },
  };
}

/** A pair on each line, below a line that names the version. */
const mergesOf = (file: string): string[] =>
  file.split(/\r?\n/).filter((line, i) => line !== "" && !(i === 0 && line.startsWith("#version")));
