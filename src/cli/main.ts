#!/usr/bin/env node
/** The command line. Exit codes: 0 done, 1 failed, 2 wrong usage or configuration, 130 interrupted twice. */
import { Command, CommanderError } from "commander";
import { ConfigError, TunesmithError } from "../base/errors.ts";
import type { CommandContext } from "./command.ts";
import { commands } from "./commands/registry.ts";
import { tunesmithVersion } from "./environment.ts";

const interruption = new AbortController();
process.on("SIGINT", () => {
  if (interruption.signal.aborted) process.exit(130);
  process.stderr.write("\nInterrupted: finishing the step under way; press Ctrl-C again to leave at once.\n");
  interruption.abort();
});

const context: CommandContext = {
  print: (text) => void process.stdout.write(`${text}\n`),
  log: (text) => void process.stderr.write(`${text}\n`),
  signal: interruption.signal,
};

// A reader such as head that has seen enough is no failure.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code === "EPIPE") process.exit(0);
  throw error;
});

const program = new Command("tunesmith")
  .description("Fine-tune language models: no Python, no CUDA toolkit.")
  .version(tunesmithVersion)
  .showSuggestionAfterError(true)
  .exitOverride();
for (const { name, summary, define } of commands) define(program.command(name).description(summary).exitOverride(), context);

try {
  await program.parseAsync();
} catch (error) {
  process.exitCode = exitCodeOf(error);
}

function exitCodeOf(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2; // commander has printed it
  if (TunesmithError.isInstance(error)) {
    context.log(`error: ${error.message}`);
    if (process.env.DEBUG) context.log(error.stack ?? "");
    return error instanceof ConfigError || error.code === "config" ? 2 : 1;
  }
  context.log(`error: ${(error as Error).stack ?? String(error)}`);
  return 1;
}
