/** A merge as its recipe file says it: what goes in, how it is combined, where it goes. */
import { z } from "zod";
import { ConfigError } from "../../base/errors.ts";
import { nearestName } from "../../base/nearest-name.ts";
import { type AdapterMethod, adapterMethods } from "./adapter-methods.ts";
import type { Combiner } from "./combiners/combiner.ts";
import { combiners } from "./combiners/registry.ts";

const paths = z.array(z.string().min(1)).min(1).optional();

export const mergeRecipeSchema = z.strictObject({
  adapters: paths.describe("LoRA adapters of one base: PEFT folders or run folders. Gives a PEFT adapter folder."),
  models: paths.describe("Whole models: checkpoint folders, run folders of full fine-tuning, or hub names. Gives a checkpoint folder."),
  base: z.string().min(1).optional().describe("The model that `models` were tuned from; for methods that work on the differences."),
  weights: z.array(z.number()).min(1).optional().describe("One number for each source; negative takes away. Default: 1 each."),
  method: z.looseObject({ name: z.string().describe("One of those below.") }).describe("How they are combined, and its options."),
  seed: z.int().min(0).default(42).describe("Seed of DARE's draws; each tensor has a stream of its own."),
  output: z.string().min(1).describe("Folder to write; it must not exist."),
});

interface Common {
  readonly sources: readonly string[];
  readonly weights: readonly number[];
  /** Options of the method, with its name and defaults. */
  readonly config: unknown;
  readonly seed: number;
  readonly output: string;
}
export type MergeRecipe =
  | (Common & { readonly kind: "adapters"; readonly method: AdapterMethod })
  | (Common & { readonly kind: "models"; readonly method: Combiner; readonly base?: string });

/** @throws ConfigError with every problem found */
export function parseMergeRecipe(raw: unknown): MergeRecipe {
  const outer = mergeRecipeSchema.safeParse(raw);
  if (!outer.success) throw new ConfigError(explain(outer.error, { raw, schema: mergeRecipeSchema }));
  const { adapters, models, base, method: chosen, weights: given, seed, output } = outer.data;
  if ((adapters === undefined) === (models === undefined)) throw new ConfigError("recipe: name either adapters or models, one of the two.");
  const sources = (adapters ?? models)!;
  const weights = given ?? sources.map(() => 1);
  const problems: string[] = [];
  if (weights.length !== sources.length)
    problems.push(`weights: ${weights.length} numbers for ${sources.length} sources; expected one for each.`);

  const members: readonly (AdapterMethod | Combiner)[] = adapters ? adapterMethods : combiners;
  const method = members.find(({ name }) => name === chosen.name);
  if (!method) {
    const names = members.map(({ name }) => name);
    const nearest = nearestName(chosen.name, names);
    problems.push(
      `method.name: "${chosen.name}" cannot merge ${adapters ? "adapters" : "models"}.${nearest ? ` Did you mean "${nearest}"?` : ""} Known: ${names.join(", ")}.`,
    );
    throw new ConfigError(problems);
  }
  const options = method.configSchema.safeParse(chosen);
  if (!options.success) problems.push(...explain(options.error, { raw: chosen, schema: method.configSchema, at: "method." }));
  if (adapters && base !== undefined) problems.push("base: adapters are merged without their base; leave it out.");
  if (models) problems.push(...modelProblems({ method: method as Combiner, sources, base, given }));
  if (problems.length > 0) throw new ConfigError(problems);
  const common = { sources, weights, config: options.data, seed, output };
  return adapters
    ? { kind: "adapters", ...common, method: method as AdapterMethod }
    : { kind: "models", ...common, method: method as Combiner, ...(base !== undefined && { base }) };
}

interface ModelCheck {
  readonly method: Combiner;
  readonly sources: readonly string[];
  readonly base: string | undefined;
  readonly given: readonly number[] | undefined;
}

function modelProblems({ method, sources, base, given }: ModelCheck): string[] {
  const problems: string[] = [];
  if (method.of === "task vectors" && base === undefined)
    problems.push(`base: missing. ${method.name} works on the differences from the model that all sources were tuned from.`);
  if (method.of === "weights" && base !== undefined) problems.push(`base: ${method.name} works on whole weights; leave it out.`);
  if (method.sources !== undefined && sources.length !== method.sources)
    problems.push(`models: ${method.name} takes ${method.sources}, not ${sources.length}.`);
  const weights = method.weightsProblem?.(given);
  return weights ? [...problems, `weights: ${weights}`] : problems;
}

function explain(error: z.ZodError, { raw, schema, at = "" }: { raw: unknown; schema: z.ZodObject; at?: string }): string[] {
  return error.issues.flatMap((issue) => {
    if (issue.code === "unrecognized_keys") {
      const known = Object.keys(schema.shape);
      return issue.keys.map((key) => {
        const nearest = nearestName(key, known);
        return `${at}${[...issue.path, key].join(".")}: unknown key.${nearest ? ` Did you mean "${nearest}"?` : ` Known here: ${known.join(", ")}.`}`;
      });
    }
    const value = issue.path.reduce<unknown>((inner, key) => (inner as Record<PropertyKey, unknown> | undefined)?.[key], raw);
    const path = `${at}${issue.path.join(".")}`;
    const expected = issue.message.replace("Invalid input: ", "");
    return [
      value === undefined
        ? `${path}: missing; ${expected.replace(/, received .*/, "")}.`
        : `${path}: ${JSON.stringify(value)} does not fit. ${expected}.`,
    ];
  });
}
