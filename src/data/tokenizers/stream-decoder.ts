/** Text of tokens as they arrive. Holds back what may still change: unfinished characters, and the spaces that some decoders strip. */
import type { Tokenizer } from "./tokenizer.ts";

export interface StreamDecoder {
  /** The new text that this token makes certain; may be empty. */
  push(id: number): string;
  /** What was held back. */
  flush(): string;
}

export function createStreamDecoder(tokenizer: Tokenizer): StreamDecoder {
  // Decoding starts at a token before the new text, so that a leading space of the new text is not taken for the start of a sentence.
  let ids: number[] = [];
  let prefix = "";
  const emit = (text: string): string => {
    const fresh = text.slice(prefix.length);
    ids = ids.slice(-4);
    prefix = tokenizer.decode(ids, { skipSpecialTokens: true });
    return fresh;
  };
  return {
    push(id) {
      ids.push(id);
      const text = tokenizer.decode(ids, { skipSpecialTokens: true });
      return text.endsWith("\uFFFD") || !text.startsWith(prefix) ? "" : emit(text);
    },
    flush: () => emit(tokenizer.decode(ids, { skipSpecialTokens: true })),
  };
}
