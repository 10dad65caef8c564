/** Tokenizers without tokenizer.json against the ids of transformers, or of sentencepiece for its own models. */
import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { loadTokenizer } from "../../src/data/tokenizers/tokenizer.ts";
import { openFolder } from "../../src/platform/node/files.ts";
import { reference } from "./tiny-model.ts";

interface Reference {
  texts: { text: string; ids: number[]; whole?: number[] }[];
  pair?: { texts: [string, string]; ids: number[] };
}

describe.each(readdirSync(`${reference}older-tokenizers`))("%s", (name) => {
  const folder = `${reference}older-tokenizers/${name}`;
  const { texts, pair } = JSON.parse(readFileSync(`${folder}/reference.json`, "utf8")) as Reference;

  it.each(texts.map((one) => [one.text, one] as const))("%j has the reference ids", async (_, { text, ids, whole }) => {
    const tokenizer = await loadTokenizer(openFolder(folder));
    expect(tokenizer.encode(text)).toEqual(ids);
    if (whole) expect(tokenizer.encodeDocument(text).ids).toEqual(whole);
  });

  if (!pair) return;
  it("joins two texts as the reference does", async () => {
    const tokenizer = await loadTokenizer(openFolder(folder));
    expect(tokenizer.encodeDocument(...pair.texts).ids).toEqual(pair.ids);
  });
});
