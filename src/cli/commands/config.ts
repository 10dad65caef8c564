/** tunesmith config: what a configuration may hold, and whether one is right. */
import { z } from "zod";
import { ConfigError } from "../../base/errors.ts";
import { parseRunConfig, runConfigSchema } from "../../runs/config.ts";
import { printConfig } from "../../runs/config-text.ts";
import type { Command } from "../command.ts";
import { exampleConfig, readConfigFile } from "../config-file.ts";
import { parsePretrainFile } from "../pretrain-config.ts";

export const config = {
  name: "config",
  summary: "print the schema or an example, or check a file",
  define(command, { print }) {
    command
      .command("schema")
      .description("JSON Schema of a run's configuration, for editors")
      .action(() => print(JSON.stringify(z.toJSONSchema(runConfigSchema, { io: "input" }), null, 2)));
    command
      .command("validate <file>")
      .description("check a file and print it with every default filled in")
      .action(async (file: string) => print(printConfig(checked(await readConfigFile({ file }))).trimEnd()));
    command
      .command("example")
      .description("print a file to begin with")
      .action(() => print(exampleConfig));
  },
} as const satisfies Command;

/** With every default filled in; files for pretrain and update, which name no model, stay that. */
function checked(raw: Record<string, unknown>): Readonly<Record<string, unknown>> {
  if ("update" in raw && !("model" in raw)) return checkedUpdate(raw);
  if (!("pretrain" in raw)) return { ...parseRunConfig(raw) };
  const { recipe, config } = parsePretrainFile(raw);
  const { model: _, method: __, ...rest } = config;
  return { pretrain: recipe, ...rest };
}

/** The earlier run gives model, method and its own folder. */
function checkedUpdate({ update, ...raw }: Record<string, unknown>): Readonly<Record<string, unknown>> {
  if ("method" in raw) throw new ConfigError("method: is taken from the earlier run. Leave it out.");
  const earlier = "<run>";
  const config = parseRunConfig({ ...raw, model: earlier, update: { ...(update as object | null), from: earlier } });
  const { model: _, method: __, update: filled, ...rest } = config;
  const { from: ___, ...guards } = filled!;
  return { update: guards, ...rest };
}
