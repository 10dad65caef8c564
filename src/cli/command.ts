/** What a command is, and what it may use. */
import type { Command as Commander } from "commander";

export interface CommandContext {
  /** Result text, to standard output. */
  print(text: string): void;
  /** Everything else, to standard error. */
  log(text: string): void;
  /** Aborted by the first interrupt; the second ends the process. */
  readonly signal: AbortSignal;
}

export interface Command {
  readonly name: string;
  readonly summary: string;
  /** Adds arguments, options and the action. The action gets commander's own arguments; a number returned is the exit code. */
  define(command: Commander, context: CommandContext): void;
}
