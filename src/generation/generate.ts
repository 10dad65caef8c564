/** Generates text as a stream: sampling, and stopping at end tokens, stop strings and length. */
import { DataError } from "../base/errors.ts";
import { createRandom } from "../base/random.ts";
import { createStreamDecoder } from "../data/tokenizers/stream-decoder.ts";
import type { Tokenizer } from "../data/tokenizers/tokenizer.ts";
import type { Decoder } from "./decoder.ts";
import { type SamplingOptions, sampleToken } from "./sampling/sample-token.ts";
import { createStopping, type FinishReason } from "./stopping.ts";

export interface GenerateOptions {
  /** Empty, or holding what stands before the prompt. */
  readonly decoder: Decoder;
  readonly tokenizer: Tokenizer;
  readonly promptIds: readonly number[];
  readonly sampling: SamplingOptions;
  readonly maxNewTokens: number;
  /** Positions that the model has. */
  readonly maxLength: number;
  readonly eosTokenIds: readonly number[];
  readonly stopStrings?: readonly string[];
  readonly seed: number;
  readonly signal?: AbortSignal | undefined;
}

export interface GenerationPiece {
  readonly id: number;
  /** May be empty while characters are incomplete, or while a stop string may be beginning. */
  readonly text: string;
  /** Set with the last piece; absent when the signal ended it. */
  readonly finishReason?: FinishReason;
}

/** @throws DataError if the prompt fills the context already, or is empty */
export async function* generate(options: GenerateOptions): AsyncGenerator<GenerationPiece> {
  const { decoder, tokenizer, promptIds, maxLength } = options;
  const used = decoder.length + promptIds.length;
  if (promptIds.length === 0)
    throw new DataError("the prompt has no tokens. Give at least one character, or a tokenizer that adds a start token.");
  if (used >= maxLength)
    throw new DataError(`the prompt has ${used} tokens; the model has positions for ${maxLength}. Shorten the prompt.`);
  const random = createRandom(options.seed);
  const maxNewTokens = Math.min(options.maxNewTokens, maxLength - used);
  const stopping = createStopping({
    decoder: createStreamDecoder(tokenizer),
    eosTokenIds: options.eosTokenIds,
    stopStrings: options.stopStrings ?? [],
    maxNewTokens,
  });
  const previousTokens = [...promptIds];
  let logits = await decoder.feed(promptIds);
  while (!options.signal?.aborted) {
    const id = sampleToken(logits, { ...options.sampling, previousTokens, random });
    previousTokens.push(id);
    const step = stopping.push(id);
    yield { id, ...step };
    if (step.finishReason) return;
    logits = await decoder.feed([id]);
  }
}
