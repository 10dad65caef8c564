/**
 * A sentencepiece model alone: Unigram (T5's spiece.model; Kudo 2018, https://arxiv.org/abs/1804.10959) or BPE (the
 * tokenizer.model of Llama 2, Mistral, Gemma). As transformers converts them.
 */
import protobuf from "protobufjs/light.js";
import { UnsupportedError } from "../../../base/errors.ts";
import { addedToken, type ConvertedTokenizer, collectAddedTokens, type JsonObject, surroundingTokens, tokenText } from "./definition.ts";
import { modelTypes, pieceTypes, type SentencePiece, type SentencepieceModel } from "./sentencepiece-model.ts";

export interface SentencepieceFile {
  readonly model: SentencepieceModel;
  /** File name; spiece.model is T5's. */
  readonly file: string;
  readonly config: JsonObject;
  readonly addedTokens: JsonObject;
  readonly name: string;
}

/** The space of sentencepiece. */
const space = "\u2581";

/** @throws UnsupportedError for models of whole words or of characters */
export function fromSentencepiece({ model, file, config: given, addedTokens, name }: SentencepieceFile): ConvertedTokenizer {
  const { pieces, trainerSpec, normalizerSpec } = model;
  if (trainerSpec.modelType !== modelTypes.unigram && trainerSpec.modelType !== modelTypes.bpe)
    throw new UnsupportedError(
      `${name}/${file} is a sentencepiece model of the type ${trainerSpec.modelType === modelTypes.word ? "word" : trainerSpec.modelType === modelTypes.char ? "char" : trainerSpec.modelType}; expected unigram or bpe.`,
    );
  const isUnigram = trainerSpec.modelType === modelTypes.unigram;
  const className = String(given.tokenizer_class ?? "");
  const isT5 = className === "" ? file === "spiece.model" : /^M?T5/i.test(className);
  const config = { ...usualConfig(model, isT5), ...given };
  const sentinels = isT5 ? sentinelsBehind(pieces, config) : [];
  const all = [...pieces, ...sentinels];
  const ids = new Map(all.map(({ piece }, id) => [piece, id]));
  const idOf = (token: string): number | undefined => ids.get(token);
  const usual = all.flatMap(({ piece: content, type }, id) => {
    if (type === pieceTypes.userDefined) return [addedToken({ id, content, special: false })];
    return type === pieceTypes.control || type === pieceTypes.unknown ? [addedToken({ id, content })] : [];
  });
  const begin = config.add_bos_token === true ? tokenText(config.bos_token) : undefined;
  const end = config.add_eos_token === true ? tokenText(config.eos_token) : undefined;
  return {
    config,
    definition: {
      version: "1.0",
      added_tokens: collectAddedTokens({ config, addedTokens, idOf, usual }),
      ...spaces(normalizerSpec),
      post_processor: surroundingTokens({ before: begin, between: [end, begin].filter((token) => token !== undefined), after: end, idOf }),
      model: isUnigram ? unigram(model, all) : bytePairs(model, ids),
    },
  };
}

/** Names of special tokens by the model's own ids, and which of them stand around a text. */
function usualConfig({ pieces, trainerSpec: { unkId, bosId, eosId, padId } }: SentencepieceModel, isT5: boolean): JsonObject {
  const named = { unk_token: unkId, bos_token: isT5 ? -1 : bosId, eos_token: eosId, pad_token: padId };
  const present = Object.entries(named).flatMap(([name, id]) => (pieces[id] ? [[name, pieces[id].piece]] : []));
  return { ...Object.fromEntries(present), add_bos_token: !isT5, add_eos_token: isT5 };
}

/** T5's vocabulary goes on behind the file: <extra_id_99> down to <extra_id_0>, where the file does not hold them. */
function sentinelsBehind(pieces: readonly SentencePiece[], { extra_ids: count = 100 }: { readonly extra_ids?: unknown }): SentencePiece[] {
  if (pieces.some(({ piece }) => piece.endsWith("<extra_id_0>"))) return [];
  return Array.from({ length: Number(count) }, (_, i) => ({
    ...{ piece: `<extra_id_${Number(count) - 1 - i}>`, score: 0, type: pieceTypes.control },
  }));
}

/** How spaces become part of pieces, and texts again. */
function spaces({ name, precompiledCharsmap, addDummyPrefix, removeExtraWhitespaces }: SentencepieceModel["normalizerSpec"]) {
  const replace = { type: "Replace", pattern: { String: " " }, content: space };
  const prepend = addDummyPrefix ? [{ type: "Prepend", prepend: space }] : [];
  const strip = addDummyPrefix ? [{ type: "Strip", content: " ", start: 1, stop: 0 }] : [];
  const decoder = {
    type: "Sequence",
    decoders: [{ type: "Replace", pattern: { String: space }, content: " " }, { type: "ByteFallback" }, { type: "Fuse" }, ...strip],
  };
  const tidy = removeExtraWhitespaces
    ? [
        { type: "Strip", strip_left: true, strip_right: true },
        { type: "Replace", pattern: { Regex: " {2,}" }, content: " " },
      ]
    : [];
  const characters =
    precompiledCharsmap.length > 0 && name !== "identity"
      ? [{ type: "Precompiled", precompiled_charsmap: protobuf.util.base64.encode(precompiledCharsmap, 0, precompiledCharsmap.length) }]
      : [];
  return { normalizer: { type: "Sequence", normalizers: [...characters, ...tidy, ...prepend, replace] }, pre_tokenizer: null, decoder };
}

const unigram = ({ trainerSpec: { unkId, byteFallback } }: SentencepieceModel, pieces: readonly SentencePiece[]) => ({
  ...{ type: "Unigram", unk_id: unkId, byte_fallback: byteFallback },
  vocab: pieces.map(({ piece, score }) => [piece, score]),
});

/** Every way to put a piece together from two others, best piece first: the score of a piece is the rank of its merge. */
function bytePairs({ pieces, trainerSpec: { unkId, byteFallback } }: SentencepieceModel, ids: ReadonlyMap<string, number>) {
  const merges: { left: string; right: string; score: number }[] = [];
  for (const { piece, score, type } of pieces) {
    if (type !== pieceTypes.normal && type !== pieceTypes.userDefined) continue;
    const characters = [...piece];
    for (let i = characters.length - 1; i > 0; i--) {
      const [left, right] = [characters.slice(0, i).join(""), characters.slice(i).join("")];
      if (ids.has(left) && ids.has(right)) merges.push({ left, right, score });
    }
  }
  merges.sort((a, b) => b.score - a.score);
  return {
    ...{ type: "BPE", dropout: null, unk_token: pieces[unkId]?.piece ?? null, continuing_subword_prefix: null, end_of_word_suffix: null },
    ...{ fuse_unk: true, byte_fallback: byteFallback, vocab: Object.fromEntries(ids) },
    merges: merges.map(({ left, right }) => [left, right]),
  };
}
