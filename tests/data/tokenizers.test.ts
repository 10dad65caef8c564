/** Real tokenizers against the ids that the reference libraries give. */
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import type { Folder } from "../../src/base/byte-source.ts";
import { createStreamDecoder } from "../../src/data/tokenizers/stream-decoder.ts";
import { createTokenizer, loadTokenizer } from "../../src/data/tokenizers/tokenizer.ts";
import { trainBpe } from "../../src/data/tokenizers/train-bpe.ts";
import { openFolder } from "../../src/platform/node/files.ts";
import { sharedData, skipWithout } from "../shared-data.ts";

interface Example {
  readonly text: string;
  readonly ids: number[];
  readonly ids_with_special?: number[];
}
const examplesOf = (name: string) => JSON.parse(readFileSync(`${sharedData}/tokenizers/${name}/examples.json`, "utf8")) as Example[];

describe.skipIf(skipWithout("tokenizers"))("real tokenizers", () => {
  it.each(["gpt2", "llama2", "qwen2.5", "bert-base-uncased"])("%s gives the reference ids", async (name) => {
    const tokenizer = await loadTokenizer(openFolder(`${sharedData}/tokenizers/${name}`));
    for (const { text, ids } of examplesOf(name)) expect(tokenizer.encode(text), JSON.stringify(text)).toEqual(ids);
  });

  it.each(["stories260k-llama", "chat-gpt2"])("%s gives the ids of its passage, and streams it back", async (name) => {
    const folder = `${sharedData}/models/${name}`;
    const tokenizer = await loadTokenizer(openFolder(folder));
    const { passage, passage_ids: ids } = JSON.parse(readFileSync(`${folder}/expected.json`, "utf8")) as {
      passage: string;
      passage_ids: number[];
    };
    expect(tokenizer.encode(passage, { addSpecialTokens: true })).toEqual(ids);
    const stream = createStreamDecoder(tokenizer);
    const text = ids.map((id) => stream.push(id)).join("") + stream.flush();
    expect(text.trimStart()).toBe(passage);
  });
});

describe.skipIf(skipWithout("tokenizers"))("real tokenizers without tokenizer.json", () => {
  /** The folder with only some of its files. */
  const only = (name: string, files: readonly string[]): Folder => {
    const folder = openFolder(`${sharedData}/tokenizers/${name}`);
    return { ...folder, name, list: async () => [...files], has: async (file) => files.includes(file) };
  };

  it.each([
    ["bert-base-uncased", ["vocab.txt"]],
    ["llama2", ["tokenizer.model"]],
    ["llama2", ["tokenizer.model", "tokenizer_config.json"]],
    ["t5", ["spiece.model"]],
    ["gpt2", ["vocab.json", "merges.txt"]],
    ["gpt2", ["vocab.json", "merges.txt", "tokenizer_config.json"]],
  ])("%s from %j gives the reference ids", async (name, files) => {
    const tokenizer = await loadTokenizer(only(name, files));
    for (const { text, ids, ids_with_special: whole } of examplesOf(name)) {
      expect(tokenizer.encode(text), JSON.stringify(text)).toEqual(ids);
      if (whole) expect(tokenizer.encode(text, { addSpecialTokens: true })).toEqual(whole);
    }
  });

  it.each([
    ["bert-base-uncased", ["vocab.txt", "tokenizer_config.json"]],
    ["llama2", ["tokenizer.model", "tokenizer_config.json"]],
    ["gpt2", ["vocab.json", "merges.txt", "tokenizer_config.json"]],
  ])("%s is what tokenizer.json makes of it", async (name, files) => {
    const [whole, converted] = [await loadTokenizer(only(name, [...files, "tokenizer.json"])), await loadTokenizer(only(name, files))];
    const { vocabSize, bosTokenId, eosTokenId, padTokenId, maskTokenId } = whole;
    expect(converted).toMatchObject({ vocabSize });
    expect([converted.bosTokenId, converted.eosTokenId, converted.padTokenId, converted.maskTokenId]).toEqual([
      ...[bosTokenId, eosTokenId, padTokenId, maskTokenId],
    ]);
    for (const { text } of examplesOf(name)) {
      const document = whole.encodeDocument(text, "and two");
      expect(converted.encodeDocument(text, "and two").ids).toEqual(document.ids);
      expect(converted.decode(document.ids)).toBe(whole.decode(document.ids));
      expect(converted.decode(document.ids, { skipSpecialTokens: true })).toBe(whole.decode(document.ids, { skipSpecialTokens: true }));
    }
  });

  it("T5 ends texts, has its sentinels behind the vocabulary, and gives texts back", async () => {
    const tokenizer = await loadTokenizer(only("t5", ["spiece.model"]));
    expect(tokenizer).toMatchObject({ vocabSize: 32_100, eosTokenId: 1, padTokenId: 0 });
    expect([tokenizer.idOf("<extra_id_0>"), tokenizer.idOf("<extra_id_99>")]).toEqual([32_099, 32_000]);
    expect(tokenizer.encode("Hello <extra_id_0> world", { addSpecialTokens: true })).toEqual([8774, 32_099, 296, 1]);
    for (const text of ['The contraction for "will not" is "won\'t".', "Où est le restaurant?"])
      expect(tokenizer.decode(tokenizer.encode(text, { addSpecialTokens: true }), { skipSpecialTokens: true })).toBe(text);
  });

  it("a cased BERT keeps capitals and accents", async () => {
    const folder = only("bert-base-uncased", ["vocab.txt", "tokenizer_config.json"]);
    const cased: Folder = {
      ...folder,
      readText: async (file) => (file.endsWith(".json") ? '{"do_lower_case": false}' : folder.readText(file)),
    };
    const tokenizer = await loadTokenizer(cased);
    expect(tokenizer.decode(tokenizer.encode("Où he"))).not.toBe("ou he");
    expect(tokenizer.decode(tokenizer.encode("he"))).toBe("he");
    expect(tokenizer.encode("Où")).toEqual([100]);
  });

  it.each([
    [
      "a damaged sentencepiece model",
      "llama2",
      ["tokenizer.model"],
      "\u00ff\u00ff",
      /llama2\/tokenizer\.model is not a sentencepiece model/,
    ],
    ["a vocabulary without its special tokens", "bert-base-uncased", ["vocab.txt"], "[PAD]\n[UNK]\nthe\n", /vocab\.txt has no \[CLS\]/],
  ] as const)("refuses %s", async (_, name, files, content, says) => {
    const folder = only(name, files);
    const bytes = new TextEncoder().encode(content);
    const open = async (file: string) => ({ name: file, size: bytes.length, read: async () => bytes });
    await expect(loadTokenizer({ ...folder, open, readText: async () => content })).rejects.toThrow(says);
  });

  it("refuses merges of a family that cuts words in another way, and a folder with nothing", async () => {
    const folder = only("gpt2", ["vocab.json", "merges.txt", "config.json"]);
    const qwen: Folder = {
      ...folder,
      readText: async (file) => (file === "config.json" ? '{"model_type": "qwen2"}' : folder.readText(file)),
    };
    await expect(loadTokenizer(qwen)).rejects.toThrow(/the kind "qwen2".*gpt2, opt, roberta, bart/);
    await expect(loadTokenizer(only("gpt2", []))).rejects.toThrow(/no tokenizer\.json, nor any of tokenizer\.model, spiece\.model/);
  });
});

describe("trainBpe", () => {
  it("makes a tokenizer that gives back what it is given", () => {
    const texts = ["the cat sat on the mat", "the dog sat on the cat", "naïve café, 5 € — 日本"];
    const tokenizer = createTokenizer({
      definition: trainBpe({ texts, vocabSize: 290, specialTokens: ["<s>"] }),
      config: { bos_token: "<s>" },
      name: "made here",
    });
    for (const text of [...texts, "something new: ü\n\n  x"]) expect(tokenizer.decode(tokenizer.encode(text))).toBe(text);
    expect(tokenizer.encode("the cat").length).toBeLessThan(5);
    expect(tokenizer.bosTokenId).toBe(0);
  });
});
