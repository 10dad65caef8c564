/** Options that generate and chat share. */
import { freemem } from "node:os";
import type { Command as Commander } from "commander";
import { ConfigError } from "../base/errors.ts";
import type { LoadedModel } from "../execution/loaded-model.ts";
import { limitsOf } from "../generation/checkpoint-limits.ts";
import { createDecoder, type Decoder } from "../generation/decoder.ts";
import type { GenerationOptions } from "../generation/generate.ts";
import { processors } from "../generation/sampling/registry.ts";
import type { SamplingOptions } from "../generation/sampling/sample-token.ts";

/** Every logits processor has an option of its name. */
export interface SamplingFlags extends SamplingOptions {
  readonly maxNewTokens: number;
  readonly stop: string[];
  readonly seed: number;
  readonly adapter: string[];
  readonly device: string;
}

/** What is drawn at where nobody says: varied, but not wild. */
const usualTemperature = 0.7;

const number = (text: string): number => {
  const value = Number(text);
  if (text.trim() === "" || !Number.isFinite(value)) throw new ConfigError(`"${text}" is not a number.`);
  return value;
};

/** Reads a whole number. @param least the smallest that is allowed */
export const wholeNumber =
  (option: string, least: number) =>
  (text: string): number => {
    const value = number(text);
    if (!Number.isInteger(value) || value < least)
      throw new ConfigError(`${option} is ${text}; expected a whole number, ${least} or more.`);
    return value;
  };

export const finiteNumber = number;

const flagOf = (name: string): string => `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;

export function addSamplingOptions(command: Commander): Commander {
  command.option(
    "--adapter <folder>",
    "PEFT adapter or run folder to put on the model; generate takes several, each after --adapter",
    (path, others: string[]) => [...others, path],
    [],
  );
  for (const { name, valueSchema, neutral, ...processor } of processors) {
    if ("isOfCheckpoint" in processor) continue;
    const usual = name === "temperature" ? usualTemperature : neutral;
    command.option(`${flagOf(name)} <n>`, `${valueSchema.description} (default: ${usual})`, (text) => {
      const checked = valueSchema.safeParse(number(text));
      if (checked.success) return checked.data;
      throw new ConfigError(`${flagOf(name)} is ${text}: ${checked.error.issues[0]?.message} (${valueSchema.description}).`);
    });
  }
  return command
    .option("--max-new-tokens <n>", "most tokens to generate", wholeNumber("--max-new-tokens", 1), 256)
    .option("--stop <text...>", "end before this text", [])
    .option("--seed <n>", "the same seed gives the same text", number, 0)
    .option("--device <name>", "auto, cpu, webgpu or cuda", "auto");
}

/** What generating needs of the flags and the checkpoint. */
export function generationOptions(flags: SamplingFlags, loaded: LoadedModel): Omit<GenerationOptions, "decoder" | "tokenizer" | "signal"> {
  const sampling = Object.fromEntries(processors.map(({ name }) => [name, flags[name]])) as SamplingOptions;
  const { forced, ...limits } = limitsOf(loaded);
  return {
    ...limits,
    sampling: { ...sampling, ...forced, temperature: sampling.temperature ?? usualTemperature },
    maxNewTokens: flags.maxNewTokens,
    stopStrings: flags.stop,
    seed: flags.seed,
  };
}

/** A decoder for a command that does nothing else with the model. */
export function openDecoder(loaded: LoadedModel): Promise<Decoder> {
  let float32Bytes = 0;
  for (const { spec } of loaded.store.parameters.values()) float32Bytes += 4 * spec.shape.reduce((product, size) => product * size, 1);
  // Weights in half precision grow when they are packed.
  return createDecoder({ ...loaded, weights: 1.5 * float32Bytes < freemem() ? "packed" : "shared" });
}
