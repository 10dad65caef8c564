/** Several prompts of different lengths at once, greedy and by beam search, against transformers' generate(). */
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import type { Tokenizer } from "../../src/data/tokenizers/tokenizer.ts";
import { createDecoder, type DecoderOptions } from "../../src/generation/decoder.ts";
import { generateBatch } from "../../src/generation/generate.ts";
import { backend, openTinyModel, reference } from "./tiny-model.ts";

interface Options {
  readonly numBeams?: number;
  readonly numReturnSequences?: number;
  readonly lengthPenalty?: number;
  readonly earlyStopping?: boolean | "never";
  readonly noRepeatNgramSize?: number;
  readonly minNewTokens?: number;
  readonly repetitionPenalty?: number;
}
interface Case {
  readonly options: Options;
  /** [prompt, text, token]. */
  readonly ids: number[][][];
  readonly scores?: number[][];
}
const { families, newTokens, endTokens } = JSON.parse(readFileSync(`${reference}generation/batches.json`, "utf8")) as {
  newTokens: number;
  endTokens: number[];
  families: Record<string, { base: string; prompts: number[][]; cases: Case[] }>;
};
/** The tiny models have none. */
const tokenizer = { decode: (ids: readonly number[]) => ids.join(" ") } as Tokenizer;

describe.each(Object.keys(families))("%s", (family) => {
  const { base, prompts, cases } = families[family]!;
  const open = async (weights: NonNullable<DecoderOptions["weights"]>) => {
    const opened = await openTinyModel({ folder: `${reference}${base}`, attach: () => ({ hooks: {}, added: [], trains: () => false }) });
    return { decoder: await createDecoder({ backend, ...opened, weights }), maxLength: opened.model.maxPositionEmbeddings };
  };
  const decoders = { shared: open("shared"), packed: open("packed") };
  const run = async (options: Options, weights: "shared" | "packed", of = prompts) => {
    const { numBeams, numReturnSequences = 1, lengthPenalty, earlyStopping, ...sampling } = options;
    return generateBatch({
      ...{ tokenizer, ...(await decoders[weights]), maxNewTokens: newTokens, eosTokenIds: endTokens, seed: 0 },
      prompts: of.map((ids) => ({ ids })),
      sampling: numBeams ? sampling : { ...sampling, temperature: 0 },
      ...(numBeams && {
        beams: { numBeams, ...(lengthPenalty !== undefined && { lengthPenalty }), ...(earlyStopping !== undefined && { earlyStopping }) },
      }),
      numReturnSequences,
    });
  };

  it.each(cases.map((one) => [JSON.stringify(one.options), one] as const))("%s", async (_, { options, ids, scores }) => {
    const texts = await run(options, "shared");
    expect(texts.map((ofPrompt) => ofPrompt.map((text) => text.ids))).toEqual(ids);
    for (const [i, ofPrompt] of (scores ?? []).entries())
      for (const [j, score] of ofPrompt.entries()) expect(Math.abs(texts[i]![j]!.score! - score)).toBeLessThan(1e-4);
  });

  it("is the same with packed weights, and for each prompt alone", async () => {
    for (const { options, ids } of [cases[0]!, cases[2]!]) {
      const idsOf = (texts: Awaited<ReturnType<typeof run>>) => texts.map((ofPrompt) => ofPrompt.map((text) => text.ids));
      expect(idsOf(await run(options, "packed"))).toEqual(ids);
      for (const [i, prompt] of prompts.entries()) expect(idsOf(await run(options, "packed", [prompt]))).toEqual([ids[i]]);
    }
  });
});
