/** Options that generate and chat share. */
import type { Command as Commander } from "commander";
import { ConfigError } from "../base/errors.ts";
import type { LoadedModel } from "../execution/loaded-model.ts";
import type { GenerateOptions } from "../generation/generate.ts";

export interface SamplingFlags {
  readonly temperature: number;
  readonly topK: number;
  readonly topP: number;
  readonly minP: number;
  readonly repetitionPenalty: number;
  readonly maxNewTokens: number;
  readonly stop: string[];
  readonly seed: number;
  readonly adapter: string[];
  readonly device: string;
}

const number = (text: string): number => {
  const value = Number(text);
  if (!Number.isFinite(value)) throw new ConfigError(`"${text}" is not a number.`);
  return value;
};

export const addSamplingOptions = (command: Commander): Commander =>
  command
    .option(
      "--adapter <folder>",
      "PEFT adapter or run folder to put on the model; generate takes several, each after --adapter",
      (path, others: string[]) => [...others, path],
      [],
    )
    .option("--temperature <t>", "0 takes the most likely token", number, 0.7)
    .option("--top-k <k>", "keep the k most likely tokens; 0 keeps all", number, 0)
    .option("--top-p <p>", "keep the smallest set of tokens with this probability", number, 1)
    .option("--min-p <p>", "keep tokens at least this share as likely as the most likely", number, 0)
    .option("--repetition-penalty <f>", "above 1 makes earlier tokens less likely", number, 1)
    .option("--max-new-tokens <n>", "most tokens to generate", number, 256)
    .option("--stop <text...>", "end before this text", [])
    .option("--seed <n>", "the same seed gives the same text", number, 0)
    .option("--device <name>", "auto, cpu, webgpu or cuda", "auto");

/** What generate() needs of the flags and the checkpoint. */
export function generationOptions(
  flags: SamplingFlags,
  { checkpoint, tokenizer, model }: LoadedModel,
): Pick<GenerateOptions, "sampling" | "maxNewTokens" | "maxLength" | "eosTokenIds" | "stopStrings" | "seed"> {
  const { temperature, topK, topP, minP, repetitionPenalty, maxNewTokens, stop, seed } = flags;
  const declared = checkpoint.generationConfig.eos_token_id ?? checkpoint.config.eos_token_id;
  const ids = [declared, tokenizer.eosTokenId].flat().filter((id): id is number => typeof id === "number");
  return {
    sampling: { temperature, topK, topP, minP, repetitionPenalty },
    maxNewTokens,
    maxLength: model.maxPositionEmbeddings,
    eosTokenIds: [...new Set(ids)],
    stopStrings: stop,
    seed,
  };
}
