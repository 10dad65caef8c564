/** Chooses a token from logits. */
import type { Random } from "../base/random.ts";
import { probabilities, type SamplingOptions } from "./processors/processor.ts";
import { processors } from "./processors/registry.ts";

export interface SampleOptions {
  /** [V]; not changed. */
  readonly logits: Float32Array;
  readonly sampling: SamplingOptions;
  readonly previous: readonly number[];
  readonly random: Random;
}

export function sampleToken({ logits, sampling, previous, random }: SampleOptions): number {
  const processed = Float32Array.from(logits);
  for (const processor of processors) processor.process(processed, sampling, previous);
  if (sampling.temperature === 0) return mostLikely(processed);
  const likely = probabilities(processed);
  let rest = random.next();
  let chosen = 0;
  for (let id = 0; id < likely.length; id++) {
    if (likely[id] === 0) continue;
    chosen = id;
    rest -= likely[id]!;
    if (rest < 0) break;
  }
  return chosen;
}

function mostLikely(logits: Float32Array): number {
  let best = 0;
  for (let id = 1; id < logits.length; id++) if (logits[id]! > logits[best]!) best = id;
  return best;
}
