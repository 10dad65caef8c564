/** Generates texts: one as a stream, or many in batches, each by drawing or by beam search. */
import { ConfigError, DataError } from "../base/errors.ts";
import { createStreamDecoder } from "../data/tokenizers/stream-decoder.ts";
import type { Tokenizer } from "../data/tokenizers/tokenizer.ts";
import type { Decoder, RowStart } from "./decoder.ts";
import { processors } from "./sampling/registry.ts";
import type { SamplingOptions } from "./sampling/sample-token.ts";
import { type BeamOptions, BeamSearch, type BeamText } from "./search/beam-search.ts";
import { decode } from "./search/decode.ts";
import { SampledTexts } from "./search/sampled-texts.ts";
import { createStopping, type FinishReason } from "./stopping.ts";

export interface GenerationOptions {
  readonly decoder: Decoder;
  readonly tokenizer: Tokenizer;
  readonly sampling: SamplingOptions;
  readonly maxNewTokens: number;
  /** Positions that the model has. */
  readonly maxLength: number;
  /** Positions that the encoder of an encoder-decoder has. */
  readonly maxSourceLength?: number;
  readonly eosTokenIds: readonly number[];
  readonly stopStrings?: readonly string[];
  readonly seed: number;
  readonly signal?: AbortSignal | undefined;
}

export interface GenerateOptions extends GenerationOptions, RowStart {
  readonly promptIds: readonly number[];
}

export interface GenerationPiece {
  readonly id: number;
  /** May be empty while characters are incomplete, or while a stop string may be beginning. */
  readonly text: string;
  /** Set with the last piece; absent when the signal ended it. */
  readonly finishReason?: FinishReason;
}

/** @throws DataError if the prompt fills the context already, or is empty */
export async function* generate({ promptIds, adapterId = 0, encoderIds, ...options }: GenerateOptions): AsyncGenerator<GenerationPiece> {
  const prompt = { ids: promptIds, adapterId, ...(encoderIds && { encoderIds }) };
  const search = sampledTexts(prompt, 1, options);
  const { decoder, signal } = options;
  for await (const _ of decode({ decoder, prompts: [prompt], searches: [search], signal })) {
    const { ids, lastStep } = search.texts[0]!;
    yield { id: ids.at(-1)!, ...lastStep! };
  }
}

export interface Prompt extends RowStart {
  readonly ids: readonly number[];
  /** Counts over all prompts: what is drawn does not depend on how they are cut into batches. 0 where absent. */
  readonly index?: number;
}

export interface BatchOptions extends GenerationOptions {
  readonly prompts: readonly Prompt[];
  /** Beam search instead of drawing. */
  readonly beams?: BeamOptions | undefined;
  /** Texts for each prompt; 1 where absent. With beams at most numBeams. */
  readonly numReturnSequences?: number;
}

export interface GeneratedText {
  /** Generated tokens, an end token included. */
  readonly ids: readonly number[];
  readonly text: string;
  /** Absent where the signal ended it. */
  readonly finishReason?: FinishReason | undefined;
  /** Of beam search: summed log-probability / length ** lengthPenalty, nats. */
  readonly score?: number;
}

/**
 * Texts of each prompt, in the order of the prompts; of beam search the best first.
 * @throws DataError as `generate`; ConfigError for options that do not go together
 */
export async function generateBatch({ prompts, beams, numReturnSequences = 1, ...options }: BatchOptions): Promise<GeneratedText[][]> {
  checkBatchOptions({ beams, numReturnSequences, ...options });
  const { decoder, signal } = options;
  const searches = prompts.map((prompt) =>
    beams ? beamSearch(prompt, { ...options, beams }) : sampledTexts(prompt, numReturnSequences, options),
  );
  for await (const _ of decode({ decoder, prompts, searches, signal }));
  return searches.map((search) => {
    if (search instanceof BeamSearch) return search.texts.slice(0, numReturnSequences).map((text) => ofBeams(text, options));
    if (signal?.aborted) search.flush();
    return search.texts.map(({ ids, text, finishReason }) => ({ ids, text, finishReason }));
  });
}

function beamSearch(prompt: Prompt, options: GenerationOptions & { readonly beams: BeamOptions }): BeamSearch {
  const { sampling, eosTokenIds, beams } = options;
  return new BeamSearch({ promptIds: prompt.ids, sampling, eosTokenIds, maxNewTokens: newTokens(prompt, options), ...beams });
}

function ofBeams({ ids, score }: BeamText, { tokenizer, eosTokenIds }: GenerationOptions): GeneratedText {
  const isEnded = eosTokenIds.includes(ids.at(-1)!);
  const text = tokenizer.decode(isEnded ? ids.slice(0, -1) : ids, { skipSpecialTokens: true });
  return { ids, text, score, finishReason: isEnded ? "end-token" : "length" };
}

/** Tokens that may be generated behind a prompt. */
function newTokens({ ids, index, encoderIds }: Prompt, options: GenerationOptions): number {
  const { decoder, maxLength, maxNewTokens, maxSourceLength = Number.POSITIVE_INFINITY } = options;
  const used = decoder.virtualTokens + ids.length;
  const which = index === undefined ? "the prompt" : `prompt ${index + 1}`;
  if (ids.length === 0) throw new DataError(`${which} has no tokens. Give at least one character, or a tokenizer that adds a start token.`);
  if (used >= maxLength) throw new DataError(`${which} has ${used} tokens; the model has positions for ${maxLength}. Shorten the prompt.`);
  if (encoderIds && encoderIds.length > maxSourceLength)
    throw new DataError(`${which} has ${encoderIds.length} tokens; the encoder has positions for ${maxSourceLength}. Shorten the prompt.`);
  return Math.min(maxNewTokens, maxLength - used);
}

function sampledTexts(prompt: Prompt, numTexts: number, options: GenerationOptions): SampledTexts {
  const { tokenizer, sampling, eosTokenIds, stopStrings = [], seed } = options;
  const maxNewTokens = newTokens(prompt, options);
  const texts = Array.from({ length: numTexts }, (_, i) => ({
    stopping: createStopping({ decoder: createStreamDecoder(tokenizer), eosTokenIds, stopStrings, maxNewTokens }),
    seed: seed + 1009 * ((prompt.index ?? 0) * numTexts + i),
  }));
  return new SampledTexts({ promptIds: prompt.ids, sampling, eosTokenIds, maxNewTokens, texts });
}

function checkBatchOptions({ beams, numReturnSequences = 1, sampling, stopStrings = [] }: Omit<BatchOptions, "prompts">): void {
  if (!beams) {
    if (numReturnSequences > 1 && sampling.temperature === 0)
      throw new ConfigError(
        `numReturnSequences is ${numReturnSequences} at temperature 0, which would give the same text every time. Raise temperature, or set numBeams to at least ${numReturnSequences}.`,
      );
    return;
  }
  if (numReturnSequences > beams.numBeams)
    throw new ConfigError(
      `numReturnSequences is ${numReturnSequences}; ${beams.numBeams} beams give no more than ${beams.numBeams}. Raise numBeams.`,
    );
  for (const processor of processors) {
    const value = sampling[processor.name];
    if ("onlyForDraws" in processor && value && value !== processor.neutral)
      throw new ConfigError(
        `${processor.name} is ${value} with numBeams ${beams.numBeams}: beam search draws nothing. Leave ${processor.name} out, or numBeams.`,
      );
  }
  if (stopStrings.length > 0)
    throw new ConfigError(
      `the stop string ${JSON.stringify(stopStrings[0])} needs a text that grows at its end, and beam search keeps ${beams.numBeams} at once. Leave stop strings out, or numBeams.`,
    );
}
