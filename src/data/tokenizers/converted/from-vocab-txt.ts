/** BERT's vocab.txt: one piece of WordPiece on each line, in the order of ids. Devlin et al. 2018; defaults as BertTokenizer's of transformers. */
import { CheckpointError } from "../../../base/errors.ts";
import { type ConvertedTokenizer, collectAddedTokens, type JsonObject, surroundingTokens, tokenText } from "./definition.ts";

const usual = { unk_token: "[UNK]", cls_token: "[CLS]", sep_token: "[SEP]", pad_token: "[PAD]", mask_token: "[MASK]" };

export interface VocabTxt {
  /** The file. */
  readonly vocab: string;
  readonly config: JsonObject;
  readonly addedTokens: JsonObject;
  readonly name: string;
}

/** @throws CheckpointError if a special token is not in the vocabulary */
export function fromVocabTxt({ vocab, config: given, addedTokens, name }: VocabTxt): ConvertedTokenizer {
  const config: JsonObject = { ...usual, ...given };
  const lines = vocab.split(/\r?\n/);
  if (lines.at(-1) === "") lines.pop();
  const ids = new Map(lines.map((piece, id) => [piece, id]));
  const idOf = (token: string) => ids.get(token);
  const [unknown, begin, end] = [config.unk_token, config.cls_token, config.sep_token].map(tokenText) as [string, string, string];
  for (const token of [unknown, begin, end])
    if (idOf(token) === undefined)
      throw new CheckpointError(
        `${name}/vocab.txt has no ${token}, which tokenizer_config.json names or BERT has by default. Use the vocab.txt of this model.`,
      );
  return {
    config,
    definition: {
      version: "1.0",
      added_tokens: collectAddedTokens({ config, addedTokens, idOf }),
      normalizer: {
        ...{ type: "BertNormalizer", clean_text: true, handle_chinese_chars: config.tokenize_chinese_chars ?? true },
        // Where nothing is said, accents go with capitals.
        ...{ strip_accents: config.strip_accents ?? null, lowercase: config.do_lower_case ?? true },
      },
      pre_tokenizer: { type: "BertPreTokenizer" },
      post_processor: surroundingTokens({ before: begin, between: [end], after: end, secondType: 1, idOf }),
      decoder: { type: "WordPiece", prefix: "##", cleanup: true },
      model: {
        ...{ type: "WordPiece", unk_token: unknown, continuing_subword_prefix: "##", max_input_chars_per_word: 100 },
        vocab: Object.fromEntries(ids),
      },
    },
  };
}
