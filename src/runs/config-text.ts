/** Configurations as text: YAML (which JSON is a part of) and dotted overrides from a command line. */
import { parseDocument, stringify } from "yaml";
import { ConfigError } from "../base/errors.ts";
import type { BoundTask } from "../tasks/task.ts";
import type { RunConfig } from "./config.ts";

/** @throws ConfigError with file, line and column of every syntax error */
export function parseConfigText(text: string, file: string): Record<string, unknown> {
  const document = parseDocument(text, { prettyErrors: true });
  if (document.errors.length > 0) {
    throw new ConfigError(
      document.errors.map(
        ({ message, linePos }) => `${file}:${linePos?.[0].line ?? 1}:${linePos?.[0].col ?? 1}: ${message.split(" at line")[0]}`,
      ),
    );
  }
  const value: unknown = document.toJS();
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw new ConfigError(`${file}: expected a mapping with model, data and output; found ${value === null ? "nothing" : typeof value}.`);
  return value as Record<string, unknown>;
}

/** `method.rank=32` sets one value; values are read as YAML. @throws ConfigError if there is no `=` */
export function applyOverrides(config: Record<string, unknown>, overrides: readonly string[]): Record<string, unknown> {
  const result = structuredClone(config);
  for (const override of overrides) {
    const equals = override.indexOf("=");
    if (equals < 1) throw new ConfigError(`"${override}" is not an override; expected key=value, for example method.rank=32.`);
    const path = override.slice(0, equals).split(".");
    let target = result;
    for (const key of path.slice(0, -1)) {
      if (typeof target[key] !== "object" || target[key] === null) target[key] = {};
      target = target[key] as Record<string, unknown>;
    }
    target[path.at(-1)!] = parseDocument(override.slice(equals + 1)).toJS();
  }
  return result;
}

export const printConfig = (config: unknown): string => stringify(config, { lineWidth: 120 });

/** For a reader: without the objective where the task brings its own loss. */
export const printRunConfig = (config: RunConfig, task: Pick<BoundTask, "objective">): string =>
  printConfig(Object.fromEntries(Object.entries(config).filter(([field]) => field !== "objective" || !task.objective)));
