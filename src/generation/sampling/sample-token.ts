/** From logits to the next token. */
import { ConfigError } from "../../base/errors.ts";
import type { ProcessorContext } from "./processor.ts";
import { processors } from "./registry.ts";
import { exponentials, largestIndex } from "./softmax.ts";

/** temperature, topK, topP, repetitionPenalty and so on; what is left out changes nothing. */
export type SamplingOptions = { readonly [Name in (typeof processors)[number]["name"]]?: number | undefined };

export interface SampleOptions extends SamplingOptions, Partial<ProcessorContext> {
  /** Uniform in [0, 1). Not used at temperature 0. */
  readonly random: { next(): number };
}

/** The next token for logits [V], which stay as they are; temperature 0 takes the likeliest of those that may follow.
 * @throws ConfigError if an option is out of its range; DivergenceError if the logits are not numbers */
export function sampleToken(logits: Float32Array, { random, ...options }: SampleOptions): number {
  const processed = processLogits(logits, options);
  if (options.temperature === 0) return largestIndex(processed);
  const { weights, sum } = exponentials(processed);
  let rest = random.next() * sum;
  let last = 0;
  for (let token = 0; token < weights.length; token++) {
    if (weights[token] === 0) continue;
    rest -= weights[token]!;
    if (rest < 0) return token;
    last = token;
  }
  // Rounding can leave a rest of a few 1e-16.
  return last;
}

/** A copy of the logits [V] after every processor whose value is not neutral; at temperature 0 without those that only shape a draw. */
export function processLogits(
  logits: Float32Array,
  {
    previousTokens = [],
    promptLength = 0,
    eosTokenIds = [],
    maxNewTokens = Number.POSITIVE_INFINITY,
    ...options
  }: Omit<SampleOptions, "random">,
): Float32Array {
  const processed = logits.slice();
  for (const processor of processors) {
    const value = options[processor.name];
    if (value === undefined || value === processor.neutral) continue;
    const checked = processor.valueSchema.safeParse(value);
    if (!checked.success) {
      throw new ConfigError(`${processor.name} is ${value}: ${checked.error.issues[0]?.message} (${processor.valueSchema.description}).`);
    }
    if (options.temperature === 0 && "onlyForDraws" in processor) continue;
    processor.process(processed, value, { previousTokens, promptLength, eosTokenIds, maxNewTokens });
  }
  return processed;
}
