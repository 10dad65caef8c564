/** The tokenizer of a checkpoint that has no tokenizer.json, converted from the older files in memory. */
import type { Folder } from "../../../base/byte-source.ts";
import type { ConvertedTokenizer, JsonObject } from "./definition.ts";
import { fromMergesTxt } from "./from-merges-txt.ts";
import { fromSentencepiece } from "./from-sentencepiece.ts";
import { fromVocabTxt } from "./from-vocab-txt.ts";
import { readSentencepieceModel } from "./sentencepiece-model.ts";

export interface OlderFilesOptions {
  /** tokenizer_config.json and special_tokens_map.json. */
  readonly config: JsonObject;
  /** @returns undefined where the file is absent */
  readJson(file: string): Promise<JsonObject | undefined>;
}

/** Files of which each holds a whole tokenizer, in the order in which they are looked for. */
export const olderFiles = ["tokenizer.model", "spiece.model", "vocab.txt", "vocab.json and merges.txt"] as const;

/** @returns undefined where the folder has none of these files
 * @throws CheckpointError if one is damaged; UnsupportedError for a kind that is not known */
export async function readOlderFiles(folder: Folder, { config, readJson }: OlderFilesOptions): Promise<ConvertedTokenizer | undefined> {
  const addedTokens = (await readJson("added_tokens.json")) ?? {};
  const { name } = folder;
  for (const file of ["tokenizer.model", "spiece.model"]) {
    if (!(await folder.has(file))) continue;
    const source = await folder.open(file);
    const model = readSentencepieceModel(await source.read(0, source.size), `${name}/${file}`);
    return fromSentencepiece({ model, file, config, addedTokens, name });
  }
  if (await folder.has("vocab.txt")) return fromVocabTxt({ vocab: await folder.readText("vocab.txt"), config, addedTokens, name });
  const vocab = (await readJson("vocab.json")) as Readonly<Record<string, number>> | undefined;
  if (!vocab || !(await folder.has("merges.txt"))) return undefined;
  const modelType = (await readJson("config.json"))?.model_type;
  return fromMergesTxt({
    ...{ vocab, merges: await folder.readText("merges.txt"), config, addedTokens, name },
    modelType: typeof modelType === "string" ? modelType : undefined,
  });
}
