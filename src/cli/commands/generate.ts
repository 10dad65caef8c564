/** tunesmith generate: a prompt answered as a stream, or many in batches as JSONL; with several adapters an answer from each. */
import { ConfigError } from "../../base/errors.ts";
import type { Decoder } from "../../generation/decoder.ts";
import { type GeneratedText, generateBatch, generate as generateText, type Prompt } from "../../generation/generate.ts";
import { type PromptInput, promptOf } from "../../generation/prompt.ts";
import type { BeamOptions } from "../../generation/search/beam-search.ts";
import type { Command, CommandContext } from "../command.ts";
import { type OpenedModel, openChosenModel } from "../load-run.ts";
import { readPrompts } from "../prompts-file.ts";
import { addSamplingOptions, finiteNumber, generationOptions, openDecoder, type SamplingFlags, wholeNumber } from "../sampling-options.ts";

interface Flags extends SamplingFlags {
  readonly raw: boolean;
  readonly sourcePrefix?: string;
  readonly numBeams?: number;
  readonly lengthPenalty?: number;
  readonly earlyStopping?: string;
  readonly numReturnSequences: number;
  readonly prompts?: string;
  readonly batchSize: number;
}

export const generate = {
  name: "generate",
  summary: "continue or answer prompts with a base or tuned model",
  define(command, context) {
    addSamplingOptions(command.argument("<model>", "checkpoint folder or run folder").argument("[prompt]", "text"))
      .option("--raw", "continue the text as it is, without the chat template", false)
      .option("--source-prefix <text>", 'put before the source of an encoder-decoder, as in training: "summarize: "')
      .option("--num-beams <n>", "beam search with so many beams, instead of drawing", wholeNumber("--num-beams", 1))
      .option("--length-penalty <x>", "of beam search: above 0 favours long texts, below 0 short ones (default: 1)", finiteNumber)
      .option("--early-stopping <when>", "of beam search: true, false or never (default: false)")
      .option("--num-return-sequences <n>", "texts for each prompt", wholeNumber("--num-return-sequences", 1), 1)
      .option("--prompts <file>", 'many prompts: lines of a .txt, or rows with "prompt" or "messages"; writes JSONL')
      .option("--batch-size <n>", "prompts at once, with --prompts", wholeNumber("--batch-size", 1), 8)
      .action(async (model: string, prompt: string | undefined, flags: Flags) => {
        const beams = beamsOf(flags);
        const inputs = await inputsOf(prompt, flags);
        const { adapter, device } = flags;
        const opened = await openChosenModel({ model, adapter, device, takesSeveral: true });
        const job = { ...context, opened, flags, beams, decoder: await openDecoder(opened.loaded) };
        if (flags.prompts !== undefined) return answerFile(inputs, job);
        for (const { id, path } of adaptersOf(opened)) {
          if (path !== undefined) context.print(`[${path}]`);
          await answerOne(inputs[0]!, id, job);
        }
      });
  },
} as const satisfies Command;

interface Job extends CommandContext {
  readonly opened: OpenedModel;
  readonly decoder: Decoder;
  readonly flags: Flags;
  readonly beams: BeamOptions | undefined;
}

/** @throws ConfigError for options that say nothing together */
function beamsOf({ numBeams = 1, lengthPenalty, earlyStopping }: Flags): BeamOptions | undefined {
  if (numBeams === 1) {
    const useless = lengthPenalty !== undefined ? "--length-penalty" : earlyStopping !== undefined ? "--early-stopping" : undefined;
    if (useless) throw new ConfigError(`${useless} ranks the texts of a beam search, and there is none. Add --num-beams with 2 or more.`);
    return undefined;
  }
  if (earlyStopping !== undefined && !["true", "false", "never"].includes(earlyStopping))
    throw new ConfigError(`--early-stopping is "${earlyStopping}"; expected true, false or never.`);
  return {
    numBeams,
    ...(lengthPenalty !== undefined && { lengthPenalty }),
    earlyStopping: earlyStopping === "never" ? "never" : earlyStopping === "true",
  };
}

async function inputsOf(prompt: string | undefined, { prompts }: Flags): Promise<PromptInput[]> {
  if ((prompt === undefined) === (prompts === undefined))
    throw new ConfigError(
      prompt === undefined
        ? "there is no prompt. Give one in quotes behind the model, or a file with --prompts."
        : `there is a prompt ("${prompt}") and a file (--prompts ${prompts}). Give one of them.`,
    );
  return prompts === undefined ? [prompt!] : readPrompts(prompts);
}

/** The adapters that answer, each by itself; without several only what is loaded. */
const adaptersOf = ({ adapterPaths }: OpenedModel): { id: number; path?: string }[] =>
  adapterPaths.length < 2 ? [{ id: 0 }] : adapterPaths.map((path, i) => ({ id: i + 1, path }));

/** Options of a batch, drawn or searched. */
function batchOptions({ opened: { loaded }, flags, beams, decoder, signal }: Job) {
  const options = generationOptions(flags, loaded);
  // Nothing is drawn in a beam search, so that only a temperature that was asked for is at odds with it.
  const sampling = beams ? { ...options.sampling, temperature: flags.temperature } : options.sampling;
  return { ...options, sampling, decoder, tokenizer: loaded.tokenizer, signal, beams, numReturnSequences: flags.numReturnSequences };
}

async function answerOne(input: PromptInput, adapterId: number, job: Job): Promise<void> {
  const { flags, beams, log, signal, print } = job;
  const { ids, ...source } = promptOf(input, job.opened.loaded, flags);
  const started = performance.now();
  let tokens = 0;
  if (beams || flags.numReturnSequences > 1) {
    const [texts] = await generateBatch({ ...batchOptions(job), prompts: [{ ids, ...source, adapterId }] });
    for (const [i, { text, score, ids }] of texts!.entries()) {
      if (texts!.length > 1) print(`[${i + 1} of ${texts!.length}${score === undefined ? "" : `, score ${score.toFixed(4)}`}]`);
      print(text);
      tokens += ids.length;
    }
  } else {
    for await (const { text } of generateText({ ...batchOptions(job), promptIds: ids, ...source, adapterId })) {
      process.stdout.write(text);
      tokens++;
    }
    process.stdout.write("\n");
  }
  if (signal.aborted) process.exitCode = 130;
  log(`${tokens} tokens, ${(tokens / ((performance.now() - started) / 1000)).toFixed(1)} tokens/s`);
}

/** One line of JSON for each text, in the order of the file, batch by batch. */
async function answerFile(inputs: readonly PromptInput[], job: Job): Promise<void> {
  const { flags, opened, print, log, signal } = job;
  const jobs = inputs.flatMap((input, index) =>
    adaptersOf(opened).map(({ id, path }) => ({
      input,
      index,
      path,
      prompt: { ...promptOf(input, opened.loaded, flags), adapterId: id, index } satisfies Prompt,
    })),
  );
  const started = performance.now();
  let [tokens, answered] = [0, 0];
  for (let first = 0; first < jobs.length && !signal.aborted; first += flags.batchSize) {
    const batch = jobs.slice(first, first + flags.batchSize);
    const results = await generateBatch({ ...batchOptions(job), prompts: batch.map(({ prompt }) => prompt) });
    for (const [i, texts] of results.entries()) {
      const { input, index, path } = batch[i]!;
      const whole = texts.filter(({ finishReason }) => finishReason !== undefined);
      if (whole.length > 0) answered++;
      for (const text of whole) print(JSON.stringify({ index, ...(path !== undefined && { adapter: path }), ...lineOf(input, text) }));
      tokens += whole.reduce((sum, { ids }) => sum + ids.length, 0);
    }
  }
  log(`${tokens} tokens, ${(tokens / ((performance.now() - started) / 1000)).toFixed(1)} tokens/s`);
  if (!signal.aborted) return;
  log(`interrupted: ${answered} of ${jobs.length} answers are whole and were written`);
  process.exitCode = 130;
}

const lineOf = (input: PromptInput, { text, finishReason, score, ids }: GeneratedText) => ({
  ...(typeof input === "string" ? { prompt: input } : { messages: input }),
  ...{ text, finishReason, tokens: ids.length },
  ...(score !== undefined && { score }),
});
