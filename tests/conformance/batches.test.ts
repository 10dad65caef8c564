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
  readonly forcedBosTokenId?: number;
  readonly forcedEosTokenId?: number;
}
interface Case {
  readonly options: Options;
  /** [prompt, text, token]. */
  readonly ids: number[][][];
  readonly scores?: number[][];
}
interface Family {
  readonly base: string;
  readonly prompts: number[][];
  readonly cases: Case[];
  /** Of encoder-decoders: the prompts are sources, and the decoder begins with this token. */
  readonly start?: number;
}
const read = (name: string) =>
  JSON.parse(readFileSync(`${reference}generation/${name}.json`, "utf8")) as {
    newTokens: number;
    endTokens: number[];
    families: Record<string, Family & { sources: number[][] }>;
  };
const { families: decoders, newTokens, endTokens } = read("batches");
const encoderDecoders = Object.entries(read("encoder-decoders").families).map(([name, family]) => [
  name,
  { ...family, prompts: family.sources },
]) satisfies [string, Family][];
const families: Record<string, Family> = { ...decoders, ...Object.fromEntries(encoderDecoders) };
/** The tiny models have none. */
const tokenizer = { decode: (ids: readonly number[]) => ids.join(" ") } as Tokenizer;

describe.each(Object.keys(families))("%s", (family) => {
  const { base, prompts, cases, start } = families[family]!;
  const open = async (weights: NonNullable<DecoderOptions["weights"]>) => {
    const { model, method, store } = await openTinyModel({
      folder: `${reference}${base}`,
      attach: () => ({ hooks: {}, added: [], trains: () => false }),
    });
    return { decoder: await createDecoder({ backend, model, method, store, weights }), maxLength: model.maxPositionEmbeddings };
  };
  const opened = { shared: open("shared"), packed: open("packed") };
  const run = async (options: Options, weights: "shared" | "packed", of = prompts) => {
    const { numBeams, numReturnSequences = 1, lengthPenalty, earlyStopping, ...sampling } = options;
    return generateBatch({
      ...{ tokenizer, ...(await opened[weights]), maxNewTokens: newTokens, eosTokenIds: endTokens, seed: 0 },
      prompts: of.map((ids) => (start === undefined ? { ids } : { ids: [start], encoderIds: ids })),
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
    for (const { options, ids } of [cases[0]!, cases[1]!]) {
      const idsOf = (texts: Awaited<ReturnType<typeof run>>) => texts.map((ofPrompt) => ofPrompt.map((text) => text.ids));
      expect(idsOf(await run(options, "packed"))).toEqual(ids);
      for (const [i, prompt] of prompts.entries()) expect(idsOf(await run(options, "packed", [prompt]))).toEqual([ids[i]]);
    }
  });
});

it("a prompt longer than one step gives what its parts give, beside a short one", async () => {
  const { model, method, store } = await openTinyModel({
    folder: `${reference}families/llama`,
    attach: () => ({ hooks: {}, added: [], trains: () => false }),
  });
  const decoder = await createDecoder({ backend, model: { ...model, maxPositionEmbeddings: 4096 }, method, store });
  const long = Array.from({ length: 1300 }, (_, i) => (i * i) % model.vocabSize);
  const short = long.slice(0, 7);
  await decoder.prepare([{}, {}]);
  const [whole, beside] = await decoder.step([long, short]);
  await decoder.prepare([{}]);
  const alone = await decoder.step([short]);
  await decoder.step([long.slice(7, 400)]);
  const inParts = await decoder.step([long.slice(400)]);
  const furthest = (a: Float32Array, b: Float32Array): number => Math.max(...a.map((value, i) => Math.abs(value - b[i]!)));
  expect(furthest(whole!, inParts[0]!)).toBeLessThan(1e-5);
  expect(furthest(beside!, alone[0]!)).toBeLessThan(1e-5);
});
