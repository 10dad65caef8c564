/** A checkpoint's tokenizer: ids, special tokens and chat template. The algorithm is the @huggingface/tokenizers library's. */
import { Tokenizer as HuggingFaceTokenizer } from "@huggingface/tokenizers";
import type { Folder } from "../../base/byte-source.ts";
import { CheckpointError } from "../../base/errors.ts";
import { tokenText } from "./converted/definition.ts";
import { olderFiles, readOlderFiles } from "./converted/read-older-files.ts";

export interface Tokenizer {
  /** Ids 0 to vocabSize - 1. */
  readonly vocabSize: number;
  readonly bosToken?: string;
  readonly eosToken?: string;
  readonly bosTokenId?: number;
  readonly eosTokenId?: number;
  readonly padTokenId?: number;
  readonly maskTokenId?: number;
  /** Jinja source. */
  readonly chatTemplate?: string;
  encode(text: string, options?: { addSpecialTokens?: boolean }): number[];
  /** One text or two as the checkpoint joins them, special tokens included; `typeIds` tells the first (0) from the second (1). */
  encodeDocument(text: string, pair?: string): { readonly ids: number[]; readonly typeIds: number[] };
  decode(ids: readonly number[], options?: { skipSpecialTokens?: boolean }): string;
  /** Id of a token by its exact text. */
  idOf(token: string): number | undefined;
  /** True for tokens that are no text: beginnings, ends, masks. */
  isSpecial(id: number): boolean;
  /** True for a piece that goes on the word before it, by the marks of its kind: `##` of WordPiece, no leading space in byte-level BPE and Unigram. */
  continuesWord(id: number): boolean;
}

type JsonObject = Record<string, unknown>;

/** From tokenizer.json, or else from what older checkpoints hold. @throws CheckpointError if all is missing, or damaged */
export async function loadTokenizer(folder: Folder): Promise<Tokenizer> {
  const readJson = async (file: string): Promise<JsonObject | undefined> => {
    if (!(await folder.has(file))) return undefined;
    try {
      return JSON.parse(await folder.readText(file)) as JsonObject;
    } catch (error) {
      throw new CheckpointError(`${folder.name}/${file} is not valid JSON: ${(error as Error).message}. Download it again.`);
    }
  };
  const config = { ...(await readJson("special_tokens_map.json")), ...(await readJson("tokenizer_config.json")) };
  const current = await readJson("tokenizer.json");
  const found = current ? { definition: current, config } : await readOlderFiles(folder, { config, readJson });
  if (!found)
    throw new CheckpointError(
      `${folder.name} has no tokenizer.json, nor any of ${olderFiles.join(", ")}. Save the tokenizer with save_pretrained, or copy these files from the model's page.`,
    );
  const templateFile = (await folder.has("chat_template.jinja")) ? await folder.readText("chat_template.jinja") : undefined;
  return createTokenizer({ ...found, chatTemplate: templateFile, name: folder.name });
}

interface TokenizerSources {
  readonly definition: JsonObject;
  readonly config: Readonly<JsonObject>;
  readonly chatTemplate?: string | undefined;
  readonly name: string;
}

export function createTokenizer({ definition, config, chatTemplate, name }: TokenizerSources): Tokenizer {
  let inner: HuggingFaceTokenizer;
  try {
    inner = new HuggingFaceTokenizer({ ...definition, post_processor: withoutByteLevel(definition.post_processor) }, config);
  } catch (error) {
    throw new CheckpointError(
      `${name}/tokenizer.json cannot be used: ${(error as Error).message}. Save it again with a current version of the tokenizers library.`,
    );
  }
  const special = (key: string): { text: string; id: number } | undefined => {
    const text = tokenText(config[key]);
    const id = text === undefined ? undefined : inner.token_to_id(text);
    return text === undefined || id === undefined ? undefined : { text, id };
  };
  const [bos, eos, pad, mask] = [special("bos_token"), special("eos_token"), special("pad_token"), special("mask_token")];
  const specials = new Set([...inner.get_added_tokens_decoder()].filter(([, token]) => token.special).map(([id]) => id));
  const texts = new Map([...inner.get_vocab(true)].map(([token, id]) => [id, token]));
  const modelKind = (definition.model as { type?: string } | undefined)?.type;
  const template = chatTemplate ?? templateOf(config.chat_template);
  // The library follows tokenizer.json's post-processor; LLaMA-style files may only say add_bos_token.
  const addsBos = config.add_bos_token === true && bos !== undefined;
  let vocabSize = 0;
  for (const id of inner.get_vocab(true).values()) vocabSize = Math.max(vocabSize, id + 1);
  return {
    vocabSize,
    ...(bos && { bosToken: bos.text, bosTokenId: bos.id }),
    ...(eos && { eosToken: eos.text, eosTokenId: eos.id }),
    ...(pad && { padTokenId: pad.id }),
    ...(mask && { maskTokenId: mask.id }),
    ...(template !== undefined && { chatTemplate: template }),
    encode(text, { addSpecialTokens = false } = {}) {
      const { ids } = inner.encode(text, { add_special_tokens: addSpecialTokens });
      return addSpecialTokens && addsBos && ids[0] !== bos.id ? [bos.id, ...ids] : ids;
    },
    encodeDocument(text, pair) {
      const encoding = inner.encode(text, {
        ...(pair !== undefined && { text_pair: pair }),
        ...{ add_special_tokens: true, return_token_type_ids: true },
      });
      const { ids } = encoding;
      // Absent where the post-processor does not tell the two apart.
      const typeIds = (encoding as { token_type_ids?: number[] }).token_type_ids ?? ids.map(() => 0);
      return addsBos && ids[0] !== bos.id ? { ids: [bos.id, ...ids], typeIds: [0, ...typeIds] } : { ids, typeIds };
    },
    decode: (ids, { skipSpecialTokens = false } = {}) =>
      ids.length === 0 ? "" : inner.decode([...ids], { skip_special_tokens: skipSpecialTokens, clean_up_tokenization_spaces: false }),
    idOf: (token) => inner.token_to_id(token),
    isSpecial: (id) => specials.has(id),
    continuesWord(id) {
      const text = texts.get(id) ?? "";
      return modelKind === "WordPiece" ? text.startsWith("##") : !/^[\u0120\u2581]/.test(text);
    },
  };
}

/** Of offsets only; but the library forgets the second of two texts in it. */
function withoutByteLevel(processor: unknown): unknown {
  const { type, processors } = (processor ?? {}) as { readonly type?: string; readonly processors?: readonly unknown[] };
  if (type === "ByteLevel") return null;
  if (type !== "Sequence" || !processors) return processor ?? null;
  const others = processors.map(withoutByteLevel).filter((kept) => kept !== null);
  return others.length === 0 ? null : { type, processors: others };
}

/** `chat_template` may be one template or a list of named ones. */
function templateOf(value: unknown): string | undefined {
  if (typeof value === "string") return value;
  if (!Array.isArray(value)) return undefined;
  const named = value as { name?: string; template?: string }[];
  return (named.find(({ name }) => name === "default") ?? named[0])?.template;
}
