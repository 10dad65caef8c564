/** Generates text as a stream: sampling, stopping at end tokens, stop strings and length. */
import { createRandom } from "../base/random.ts";
import { createStreamDecoder } from "../data/tokenizers/stream-decoder.ts";
import type { Tokenizer } from "../data/tokenizers/tokenizer.ts";
import { DataError } from "../base/errors.ts";
import type { Decoder } from "./decoder.ts";
import type { SamplingOptions } from "./processors/processor.ts";
import { sampleToken } from "./sample.ts";

export interface GenerateOptions {
  readonly decoder: Decoder;
  readonly tokenizer: Tokenizer;
  readonly promptIds: readonly number[];
  readonly sampling: SamplingOptions;
  readonly maxNewTokens: number;
  /** Positions that the model has. */
  readonly maxLength: number;
  readonly stopIds: readonly number[];
  readonly stopStrings?: readonly string[];
  readonly seed: number;
  readonly signal?: AbortSignal | undefined;
}

export interface GenerationPiece {
  readonly id: number;
  /** May be empty while characters are incomplete, or while a stop string may be beginning. */
  readonly text: string;
}

/** @throws DataError if the prompt fills the context already, or is empty */
export async function* generate(options: GenerateOptions): AsyncGenerator<GenerationPiece> {
  const { decoder, tokenizer, promptIds, maxLength } = options;
  if (promptIds.length === 0) throw new DataError("the prompt has no tokens. Give at least one character, or a tokenizer that adds a start token.");
  if (promptIds.length >= maxLength) throw new DataError(`the prompt has ${promptIds.length} tokens; the model has positions for ${maxLength}. Shorten the prompt.`);
  const random = createRandom(options.seed);
  const stream = createStreamDecoder(tokenizer);
  const filter = createStopFilter(options.stopStrings ?? []);
  const ids = [...promptIds];
  const limit = Math.min(options.maxNewTokens, maxLength - promptIds.length);
  let logits = await decoder.feed(promptIds);
  for (let made = 0; made < limit && !options.signal?.aborted; made++) {
    const id = sampleToken({ logits, sampling: options.sampling, previous: ids, random });
    if (options.stopIds.includes(id)) break;
    ids.push(id);
    const { text, stopped } = filter.push(stream.push(id));
    yield { id, text };
    if (stopped) return;
    if (made + 1 < limit) logits = await decoder.feed([id]);
  }
  const { text } = filter.push(stream.flush());
  yield { id: -1, text: text + filter.flush() };
}

interface StopFilter {
  /** Text that cannot be part of a stop string any more, and whether one was completed. */
  push(text: string): { text: string; stopped: boolean };
  flush(): string;
}

/** Holds text back while it may be the beginning of a stop string. */
export function createStopFilter(stops: readonly string[]): StopFilter {
  let held = "";
  return {
    push(text) {
      held += text;
      const found = stops.map((stop) => held.indexOf(stop)).filter((at) => at >= 0);
      if (found.length > 0) {
        const certain = held.slice(0, Math.min(...found));
        held = "";
        return { text: certain, stopped: true };
      }
      let keep = 0;
      for (const stop of stops) for (let n = Math.min(stop.length - 1, held.length); n > keep; n--) if (held.endsWith(stop.slice(0, n))) keep = n;
      const certain = held.slice(0, held.length - keep);
      held = held.slice(held.length - keep);
      return { text: certain, stopped: false };
    },
    flush() {
      const rest = held;
      held = "";
      return rest;
    },
  };
}
