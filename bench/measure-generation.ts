/** One way of generating in a process of its own; prints one JSON line. Started by generation.ts. */
import type { Tokenizer } from "../src/data/tokenizers/tokenizer.ts";
import { untouched } from "../src/execution/loaded-model.ts";
import { createDecoder } from "../src/generation/decoder.ts";
import { generateBatch } from "../src/generation/generate.ts";
import type { GenerationJob } from "./generation.ts";
import { openRandomModel } from "./random-model.ts";
import { shapes } from "./shapes.ts";

const { batch, numBeams, promptTokens, newTokens, repeats, elements, weights } = JSON.parse(process.argv[2]!) as GenerationJob;
const { config } = shapes["llama-135m"];
const { backend, model, store } = await openRandomModel({ config, method: { name: "lora", rank: 16 }, weights: elements });
const opening = performance.now();
const decoder = await createDecoder({ backend, model, method: untouched, store, weights });
const openSeconds = (performance.now() - opening) / 1000;
const tokenizer = { decode: () => "" } as unknown as Tokenizer;
const prompts = Array.from({ length: batch }, (_, b) => ({
  ids: Array.from({ length: promptTokens }, (_, t) => ((b + 1) * 7919 * (t + 1)) % config.vocab_size),
}));

/** The time of one whole call, as a user would make it. */
async function seconds(maxNewTokens: number): Promise<number> {
  const started = performance.now();
  await generateBatch({
    ...{ decoder, tokenizer, prompts, maxNewTokens, maxLength: 8192, eosTokenIds: [], seed: 0 },
    sampling: { temperature: 0 },
    ...(numBeams > 1 && { beams: { numBeams } }),
  });
  return (performance.now() - started) / 1000;
}
async function best(maxNewTokens: number): Promise<number> {
  const all: number[] = [];
  for (let i = 0; i < repeats; i++) all.push(await seconds(maxNewTokens));
  return Math.min(...all);
}

await seconds(2);
const prefillSeconds = await best(1);
const tokensPerSecond = (batch * newTokens) / ((await best(newTokens + 1)) - prefillSeconds);
const peakMemoryMb = (process.resourceUsage().maxRSS * 1024) / 1e6;
console.log(JSON.stringify({ prefillSeconds, tokensPerSecond, peakMemoryMb, openSeconds }));
