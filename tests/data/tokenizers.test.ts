/** Real tokenizers against the ids that the reference libraries give. */
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { createStreamDecoder } from "../../src/data/tokenizers/stream-decoder.ts";
import { createTokenizer, loadTokenizer } from "../../src/data/tokenizers/tokenizer.ts";
import { trainBpe } from "../../src/data/tokenizers/train-bpe.ts";
import { openFolder } from "../../src/platform/node/files.ts";
import { sharedData, skipWithout } from "../shared-data.ts";

describe.skipIf(skipWithout("tokenizers"))("real tokenizers", () => {
  it.each(["gpt2", "llama2", "qwen2.5", "bert-base-uncased"])("%s gives the reference ids", async (name) => {
    const tokenizer = await loadTokenizer(openFolder(`${sharedData}/tokenizers/${name}`));
    const examples = JSON.parse(readFileSync(`${sharedData}/tokenizers/${name}/examples.json`, "utf8")) as {
      text: string;
      ids: number[];
    }[];
    for (const { text, ids } of examples) expect(tokenizer.encode(text), JSON.stringify(text)).toEqual(ids);
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
