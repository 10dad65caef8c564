/** Texts that a model writes for held-out rows, beside those that were expected. Greedy, or by beam search: nothing is drawn. */
import type { LoadedModel } from "../execution/loaded-model.ts";
import { limitsOf } from "../generation/checkpoint-limits.ts";
import { createDecoder } from "../generation/decoder.ts";
import { generateBatch, type Prompt } from "../generation/generate.ts";
import type { HeldOutResult } from "./held-out.ts";
import { computeTaskMetrics } from "./task-metrics/registry.ts";
import type { ScoresOf, TextItem } from "./task-metrics/task-metric.ts";

/** What a model is asked, and what it should write. */
export interface AskedPrompt extends Pick<Prompt, "ids" | "encoderIds"> {
  /** For readers. */
  readonly text: string;
  /** At least one. */
  readonly expected: readonly string[];
}

export interface WritingSettings {
  /** Names of text metrics. */
  readonly metrics: readonly string[];
  readonly maxNewTokens: number;
  /** Prompts at once. */
  readonly batchSize: number;
  /** 1: greedy. */
  readonly numBeams: number;
  /** ROUGE compares stems. */
  readonly rougeStemmer: boolean;
}

/** Space around a text says nothing, and is left out on both sides. */
export async function writeTexts(
  loaded: LoadedModel,
  { prompts, settings }: { readonly prompts: readonly AskedPrompt[]; readonly settings: WritingSettings },
): Promise<ScoresOf<"texts">> {
  const { maxNewTokens, batchSize, numBeams, metrics, rougeStemmer } = settings;
  const { forced, ...limits } = limitsOf(loaded);
  const decoder = await createDecoder(loaded);
  const items: TextItem[] = [];
  for (let start = 0; start < prompts.length; start += batchSize) {
    const batch = prompts.slice(start, start + batchSize);
    const texts = await generateBatch({
      ...{ decoder, tokenizer: loaded.tokenizer, sampling: { ...forced, temperature: 0 }, maxNewTokens, seed: 0, ...limits },
      prompts: batch.map(({ ids, encoderIds }, i) => ({ ids, index: start + i, ...(encoderIds && { encoderIds }) })),
      ...(numBeams > 1 && { beams: { numBeams } }),
    });
    for (const [i, { text, expected }] of batch.entries()) {
      const [predicted, actual] = [texts[i]![0]!.text.trim(), expected.map((one) => one.trim())];
      items.push({ predicted, actual, text, expected: actual[0]!, said: predicted });
    }
  }
  return { kind: "texts", items, metrics, rougeStemmer };
}

/** A language model's result with what the metrics make of its texts. */
export const withTexts = (result: HeldOutResult, scores: ScoresOf<"texts">): HeldOutResult => ({
  ...{ ...result, scores, metrics: computeTaskMetrics(scores), isOfTexts: true },
});
