/** Steps between a model's logits and the choice of a token. Each changes logits [V] in place; a token made impossible gets -Infinity. */
export interface LogitsProcessor {
  readonly name: string;
  /** @param previous ids of the prompt and of what was generated */
  process(logits: Float32Array, options: SamplingOptions, previous: readonly number[]): void;
}

export interface SamplingOptions {
  /** 0 chooses the most likely token. */
  readonly temperature: number;
  /** Keep the k most likely; 0 keeps all. */
  readonly topK: number;
  /** Keep the smallest set with this much probability, above 0 to 1. */
  readonly topP: number;
  /** Keep what is at least this share as likely as the most likely, 0 to 1. */
  readonly minP: number;
  /** Above 1 makes tokens that occurred already less likely. */
  readonly repetitionPenalty: number;
}

export const greedySampling: SamplingOptions = { temperature: 0, topK: 0, topP: 1, minP: 0, repetitionPenalty: 1 };

/** Probabilities of logits [V]. */
export function probabilities(logits: Float32Array): Float32Array {
  let max = Number.NEGATIVE_INFINITY;
  for (const value of logits) if (value > max) max = value;
  const result = new Float32Array(logits.length);
  let sum = 0;
  for (let i = 0; i < logits.length; i++) sum += result[i] = Math.exp(logits[i]! - max);
  for (let i = 0; i < logits.length; i++) result[i]! /= sum;
  return result;
}
