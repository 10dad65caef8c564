/** What every logits processor has in common. They follow transformers' LogitsProcessor classes, value for value. */
import type { z } from "zod";

export interface ProcessorContext {
  /** Prompt and generated tokens so far. */
  readonly previousTokens: readonly number[];
  /** How many of them are the prompt's. */
  readonly promptLength: number;
  readonly eosTokenIds: readonly number[];
  /** Of the text at hand. */
  readonly maxNewTokens: number;
}

export interface LogitsProcessor {
  /** Also the option's name in a config and on the command line. */
  readonly name: string;
  readonly valueSchema: z.ZodType<number>;
  /** The value that changes nothing; it is also the default. */
  readonly neutral: number;
  /** True for what shapes a draw: it is left out where the likeliest is taken, and in beam search. */
  readonly onlyForDraws?: true;
  /** True for what a checkpoint asks for and users do not. */
  readonly isOfCheckpoint?: true;
  /** Changes the logits [V] in place; a token that may not follow gets minus infinity. */
  process(logits: Float32Array, value: number, context: ProcessorContext): void;
}
