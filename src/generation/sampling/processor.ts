/** What every logits processor has in common. They follow transformers' LogitsProcessor classes, value for value. */
import type { z } from "zod";

export interface ProcessorContext {
  /** Prompt and generated tokens so far. */
  readonly previousTokens: Iterable<number>;
}

export interface LogitsProcessor {
  /** Also the option's name in a config and on the command line. */
  readonly name: string;
  readonly valueSchema: z.ZodType<number>;
  /** The value that changes nothing; it is also the default. */
  readonly neutral: number;
  /** Changes the logits [V] in place; a token that may not be drawn gets minus infinity. */
  process(logits: Float32Array, value: number, context: ProcessorContext): void;
}
