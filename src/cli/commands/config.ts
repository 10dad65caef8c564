/** tunesmith config: what a configuration may hold, and whether one is right. */
import { readFile } from "node:fs/promises";
import { z } from "zod";
import { parseRunConfig, runConfigSchema } from "../../runs/config.ts";
import { parseConfigText, printConfig } from "../../runs/config-text.ts";
import type { Command } from "../command.ts";
import { parsePretrainFile } from "../pretrain-config.ts";

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
      .action(async (file: string) => print(printConfig(checked(parseConfigText(await readFile(file, "utf8"), file))).trimEnd()));
  },
} as const satisfies Command;

/** With every default filled in; a file for pretrain stays one. */
function checked(raw: Record<string, unknown>): Readonly<Record<string, unknown>> {
  if (!("pretrain" in raw)) return { ...parseRunConfig(raw) };
  const { recipe, config } = parsePretrainFile(raw);
  const { model: _, method: __, ...rest } = config;
  return { pretrain: recipe, ...rest };
}
