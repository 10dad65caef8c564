/** The file that a command is told what to do by, with what its command line changes. */
import { readFile } from "node:fs/promises";
import { ConfigError } from "../base/errors.ts";
import { applyOverrides, parseConfigText } from "../runs/config-text.ts";

const advice = {
  run: 'Name a configuration file; "tunesmith config example" prints one',
  recipe: "Name a recipe file; docs/configuration.md has its keys",
} as const;

export interface ConfigFileOptions {
  readonly file: string;
  readonly overrides?: readonly string[];
  readonly of?: keyof typeof advice;
}

/** @throws ConfigError if the file cannot be read, is no YAML, or an override has no `=` */
export async function readConfigFile({ file, overrides = [], of = "run" }: ConfigFileOptions): Promise<Record<string, unknown>> {
  const text = await readFile(file, "utf8").catch((error: NodeJS.ErrnoException) => {
    throw new ConfigError(`${file} cannot be read: ${error.code}. ${advice[of]}.`);
  });
  return applyOverrides(parseConfigText(text, file), overrides);
}

/** What `tunesmith config example` prints. */
export const exampleConfig = `# Names without a default; all others: tunesmith config validate run.yaml, docs/configuration.md.
model: ./SmolLM2-135M            # a Hugging Face folder, or a hub name: org/model or org/model@revision
data: { train: "data/*.jsonl" }  # JSONL, JSON, CSV, Parquet or text; the row format is found by itself
output: runs/first

# What is usually changed first.
method: { name: lora, rank: 16 }
optimizer: { name: adamw, learningRate: 2.0e-4 }
training: { epochs: 1, batchSize: 1 }
# On a CPU, adapters train fastest and in the least memory on a base that computes in 8-bit integers.
# quantization: { format: int8, compute: int8, embeddings: int8 }`;
