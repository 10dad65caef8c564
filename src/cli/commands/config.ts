/** tunesmith config: what a configuration may hold, and whether one is right. */
import { readFile } from "node:fs/promises";
import { z } from "zod";
import { parseRunConfig, runConfigSchema } from "../../runs/config.ts";
import { parseConfigText, printConfig } from "../../runs/config-text.ts";
import type { Command } from "../command.ts";

export const config = {
  name: "config",
  summary: "print the schema, or check a file",
  define(command, { print }) {
    command
      .command("schema")
      .description("JSON Schema of a run's configuration, for editors")
      .action(() => print(JSON.stringify(z.toJSONSchema(runConfigSchema, { io: "input" }), null, 2)));
    command
      .command("validate <file>")
      .description("check a file and print it with every default filled in")
      .action(async (file: string) => print(printConfig(parseRunConfig(parseConfigText(await readFile(file, "utf8"), file))).trimEnd()));
  },
} as const satisfies Command;
