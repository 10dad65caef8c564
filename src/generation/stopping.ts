/** When generation ends, and which text is certain until then: at an end token, a stop string, or the longest length asked for. */
import { ConfigError } from "../base/errors.ts";
import type { StreamDecoder } from "../data/tokenizers/stream-decoder.ts";

export type FinishReason = "end-token" | "stop-string" | "length";

export interface StoppingOptions {
  /** Fresh for each text. */
  readonly decoder: StreamDecoder;
  readonly eosTokenIds: readonly number[];
  readonly stopStrings?: readonly string[];
  /** At least 1. */
  readonly maxNewTokens: number;
}

export interface StoppingStep {
  /** Text that is certain: no part of it can still become a stop string. Stop strings and end tokens are left out. */
  readonly text: string;
  /** Set with the last step. */
  readonly finishReason?: FinishReason;
}

export interface Stopping {
  push(token: number): StoppingStep;
  /** The text that was held back, when the caller ends early. */
  flush(): string;
}

/** @throws ConfigError if a stop string is empty */
export function createStopping({ decoder, eosTokenIds, stopStrings = [], maxNewTokens }: StoppingOptions): Stopping {
  if (stopStrings.includes(""))
    throw new ConfigError("a stop string is empty, which would stop before the first token. Remove it or give it text.");
  let held = "";
  let tokens = 0;

  /** The text before the first stop string, or undefined when none is complete. */
  const cutAtStop = (): string | undefined => {
    const found = stopStrings.map((stop) => held.indexOf(stop)).filter((at) => at >= 0);
    return found.length > 0 ? held.slice(0, Math.min(...found)) : undefined;
  };
  const release = (length: number): string => {
    const text = held.slice(0, length);
    held = held.slice(length);
    return text;
  };
  const finish = (reason: FinishReason): StoppingStep => {
    held += decoder.flush();
    const cut = cutAtStop();
    const text = cut ?? held;
    held = "";
    return { text, finishReason: cut === undefined ? reason : "stop-string" };
  };

  return {
    push(token) {
      if (eosTokenIds.includes(token)) return finish("end-token");
      held += decoder.push(token);
      tokens++;
      const cut = cutAtStop();
      if (cut !== undefined) {
        held = "";
        return { text: cut, finishReason: "stop-string" };
      }
      if (tokens >= maxNewTokens) return finish("length");
      return { text: release(held.length - longestBeginning(held, stopStrings)) };
    },
    flush: () => finish("length").text,
  };
}

/** How many characters at the end of the text may be the beginning of a stop string. */
function longestBeginning(text: string, stops: readonly string[]): number {
  let longest = 0;
  for (const stop of stops) {
    for (let length = Math.min(stop.length - 1, text.length); length > longest; length--) {
      if (text.endsWith(stop.slice(0, length))) longest = length;
    }
  }
  return longest;
}
