/** What `tunesmith pretrain` reads: a run's configuration with the recipe of a new model in place of model and method. */
import { join } from "node:path";
import { ConfigError } from "../base/errors.ts";
import { parseRunConfig, type RunConfig } from "../runs/config.ts";
import { type PretrainConfig, pretrainSchema } from "../runs/initial-checkpoint.ts";

export interface PretrainFile {
  readonly recipe: PretrainConfig;
  /** Full training of the folder that the recipe's model is written to, inside the run's. */
  readonly config: RunConfig;
}

/** @throws ConfigError with the problems found */
export function parsePretrainFile({ pretrain, ...rest }: Readonly<Record<string, unknown>>): PretrainFile {
  const parsed = pretrainSchema.safeParse(pretrain);
  if (!parsed.success)
    throw new ConfigError(parsed.error.issues.map(({ path, message }) => `${["pretrain", ...path].join(".")}: ${message}.`));
  for (const key of ["model", "method"])
    if (key in rest) throw new ConfigError(`${key}: pretrain makes a new model and trains all of it. Leave ${key} out.`);
  return {
    recipe: parsed.data,
    config: parseRunConfig({ ...rest, model: join(String(rest.output), "initial"), method: { name: "full" } }),
  };
}
