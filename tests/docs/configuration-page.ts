/** docs/configuration.md: every key of the files that commands read, from the schemas that check them. */
import { z } from "zod";
import { adapterMethods } from "../../src/export/merging/adapter-methods.ts";
import { combiners } from "../../src/export/merging/combiners/registry.ts";
import { mergeRecipeSchema } from "../../src/export/merging/recipe.ts";
import { methods } from "../../src/methods/registry.ts";
import { quantisationFormats } from "../../src/models/quantisation/registry.ts";
import { objectives } from "../../src/objectives/registry.ts";
import { optimizers } from "../../src/optimizers/registry.ts";
import { schedules } from "../../src/optimizers/schedules/registry.ts";
import { runConfigSchema } from "../../src/runs/config.ts";
import { pretrainSchema } from "../../src/runs/initial-checkpoint.ts";
import { tasks } from "../../src/tasks/registry.ts";

interface Member {
  readonly name: string;
  readonly summary?: string;
  readonly configSchema: z.ZodType;
}

/** As far as our schemas use it. */
interface JsonSchema {
  readonly type?: string;
  readonly description?: string;
  readonly default?: unknown;
  readonly const?: unknown;
  readonly enum?: readonly unknown[];
  readonly minimum?: number;
  readonly maximum?: number;
  readonly exclusiveMinimum?: number;
  readonly exclusiveMaximum?: number;
  readonly anyOf?: readonly JsonSchema[];
  readonly oneOf?: readonly JsonSchema[];
  readonly items?: JsonSchema;
  readonly prefixItems?: readonly JsonSchema[];
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly required?: readonly string[];
}

export interface ConfigurationKey {
  /** With dots; `[]` behind a list of objects. */
  readonly path: string;
  readonly takes: string;
  /** "required", a value, or nothing where leaving it out has a meaning of its own. */
  readonly byDefault: string;
  readonly description: string;
}

const jsonSchemaOf = (schema: z.ZodType): JsonSchema => z.toJSONSchema(schema, { io: "input" }) as JsonSchema;

/** Sections in which a name chooses the other keys, with their members. */
const chosen: Readonly<Record<string, readonly Member[]>> = {
  ...{ method: methods, quantization: quantisationFormats, task: tasks, objective: objectives, optimizer: optimizers, schedule: schedules },
};

/** The keys of an object, those of objects inside it behind theirs. @param chooses the key that is said elsewhere: the name of a member */
export function keysOf({ properties = {}, required = [] }: JsonSchema, prefix = "", chooses?: string): ConfigurationKey[] {
  return Object.entries(properties).flatMap(([key, schema]) => {
    if (key === chooses) return [];
    const path = prefix + key;
    const own = {
      ...{ path, takes: takes(schema), description: schema.description ?? "" },
      byDefault: required.includes(key) ? "required" : schema.default === undefined ? "" : shown(schema.default),
    };
    return [own, ...insideOf(schema, path)];
  });
}

function insideOf(schema: JsonSchema, path: string): ConfigurationKey[] {
  if (schema.properties) return keysOf(schema, `${path}.`);
  if (schema.items?.properties) return keysOf(schema.items, `${path}[].`);
  return (schema.oneOf ?? []).flatMap((option) =>
    keysOf(option, `${path}.`, "name").map((key) => ({ ...key, description: `${nameOf(option)}: ${key.description}` })),
  );
}

const nameOf = ({ properties }: JsonSchema): string => String(properties!.name!.const);
const shown = (value: unknown): string => `\`${typeof value === "string" && value !== "" ? value : JSON.stringify(value)}\``;

/** What a key takes, in words. */
function takes(schema: JsonSchema): string {
  if (schema.const !== undefined) return shown(schema.const);
  if (schema.enum) return schema.enum.map(shown).join(", ");
  if (schema.oneOf) return schema.oneOf.map((option) => `{ name: ${nameOf(option)} }`).join(" or ");
  if (schema.anyOf) return schema.anyOf.map(takes).join(" or ");
  if (schema.prefixItems) return `[${schema.prefixItems.map(takes).join(", ")}]`;
  if (schema.type === "array") return `list of ${plural(takes(schema.items ?? {}))}`;
  if (schema.type === "integer" || schema.type === "number") return [wordFor[schema.type], bounds(schema)].filter(Boolean).join(" ");
  return wordFor[schema.type!] ?? "anything";
}

const wordFor: Readonly<Record<string, string>> = {
  ...{ string: "text", boolean: "true or false", object: "object", integer: "whole number", number: "number" },
};
const plural = (words: string): string => words.replace(/^(text|whole number|number|object)\b/, "$1s");

function bounds({ minimum, exclusiveMinimum, maximum, exclusiveMaximum }: JsonSchema): string {
  const low = minimum ?? exclusiveMinimum;
  const high = exclusiveMaximum ?? (maximum === Number.MAX_SAFE_INTEGER ? undefined : maximum);
  return [
    ...(low === undefined || low === Number.MIN_SAFE_INTEGER ? [] : [`${minimum === undefined ? "above" : "from"} ${low}`]),
    ...(high === undefined ? [] : [`${exclusiveMaximum === undefined ? "to" : "below"} ${high}`]),
  ].join(" ");
}

const inCell = (text: string): string => text.replaceAll("|", "\\|");

function table(keys: readonly ConfigurationKey[]): string {
  if (keys.length === 0) return "No further keys.\n";
  const rows = keys.map((key) => `| ${[`\`${key.path}\``, key.takes, key.byDefault, key.description].map(inCell).join(" | ")} |`);
  return `| key | takes | default | |\n|---|---|---|---|\n${rows.join("\n")}\n`;
}

const memberSections = (members: readonly Member[], chooses: string): string =>
  members
    .map(({ name, summary, configSchema }) => {
      const says = summary ? `${summary.replace(/[^.]$/, "$&.")}\n\n` : "";
      return `### ${chooses}: ${name}\n\n${says}${table(keysOf(jsonSchemaOf(configSchema), "", chooses))}`;
    })
    .join("\n");

/** Every key by its section: `method.rank`, `training.epochs`, `pretrain.tokenizer.vocabSize`. */
export function allKeys(): ReadonlySet<string> {
  const { properties } = jsonSchemaOf(runConfigSchema);
  const sections = Object.entries(properties!).flatMap(([section, schema]) => {
    const members = chosen[section];
    if (!members) return keysOf({ properties: { [section]: schema } });
    return [{ path: section }, ...members.flatMap(({ configSchema }) => keysOf(jsonSchemaOf(configSchema), `${section}.`))];
  });
  return new Set([...sections, ...keysOf(jsonSchemaOf(pretrainSchema), "pretrain.")].map(({ path }) => path));
}

export function configurationPage(): string {
  const { properties = {}, required = [] } = jsonSchemaOf(runConfigSchema);
  const isSection = ([section, { properties: own }]: [string, JsonSchema]): boolean => section in chosen || own !== undefined;
  const entries = Object.entries(properties);
  const sections = entries.filter(isSection).map(([section, schema]) => {
    const members = chosen[section];
    const says = schema.description ? `${schema.description}\n\n` : "";
    const byDefault = schema.default && Object.keys(schema.default).length > 0 ? `Default: ${shown(schema.default)}.\n\n` : "";
    const body = members ? memberSections(members, section === "quantization" ? "format" : "name") : table(keysOf(schema));
    return `## ${section}\n\n${says}${byDefault}${body}`;
  });
  const alone = Object.fromEntries(entries.filter((entry) => !isSection(entry)));
  return `# Configuration

Every key of the files that \`train\`, \`update\`, \`pretrain\` and \`merge\` read, written by tests/docs from the schemas that check them (\`npx vitest run tests/docs -u\`).
\`tunesmith config schema\` prints the same for editors, \`tunesmith config validate run.yaml\` a file with its defaults filled in. On the command line: \`training.epochs=2 method.rank=32\`.
An empty default: without the key, what its line says.

## At the top

${table(keysOf({ properties: alone, required }))}
${sections.join("\n")}
## pretrain

For \`tunesmith pretrain\`, beside the other sections, without \`model\` and \`method\`.

${table(keysOf(jsonSchemaOf(pretrainSchema)))}
## Recipes of merge

For \`tunesmith merge recipe.yaml\`.

${table(keysOf(jsonSchemaOf(mergeRecipeSchema)))}
Of adapters:

${memberSections(adapterMethods, "name")}
Of models:

${memberSections(combiners, "name")}`;
}
