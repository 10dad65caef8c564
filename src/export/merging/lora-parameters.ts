/**
 * Adapters of bare parameters (`target_parameters`: experts of a mixture, routers) as merging sees them: every expert is a weight of its own,
 * with factors of its own. PEFT's own add_weighted_adapter refuses such adapters; here an expert is merged as PEFT merges a linear layer.
 */
import { CheckpointError, UnsupportedError } from "../../base/errors.ts";
import { endsWithModule } from "../../base/module-names.ts";
import { factorsOfExpert, moduleInFile } from "../../methods/lora/bare-parameters.ts";
import { matchesPattern } from "../../methods/match-modules.ts";
import type { ParameterData } from "../../methods/method.ts";
import type { JsonObject } from "../../models/weights/checkpoint.ts";
import type { LoraUpdate } from "./lora-update.ts";

/** The factors of one module in a file. */
export interface FileFactors {
  readonly a: ParameterData;
  readonly b: ParameterData;
}

/** Parameters of a module, in the order in which it holds them and PEFT wraps it: the last is outermost. A router has one, `weight`. */
const parametersOf = (module: string): readonly string[] =>
  endsWithModule(module, "experts") ? ["gate_up_proj", "down_proj"] : ["weight"];

/** How an expert of a parameter is called among the modules of a source. */
export const expertName = (parameter: string, expert: number): string => `${parameter}[${expert}]`;

/** Module in a file -> path of the parameter that its factors adapt; modules that are linear layers are left out.
 * @throws UnsupportedError for parameters that are not known */
export function parametersInFile(config: JsonObject, modules: readonly string[]): Map<string, string> {
  const targets = (config.target_parameters ?? []) as string[];
  const ownerOf = (module: string): string => module.replace(/(\.base_layer)+$/, "");
  const found = new Map<string, string>();
  for (const module of modules) {
    const owner = ownerOf(module);
    const paths = parametersOf(owner).map((name) => `${owner}.${name}`);
    const adapted = paths.filter((path) => targets.some((target) => endsWithModule(path, target)));
    if (adapted.length === 0 && module === owner) continue;
    // The module is wrapped once for each.
    const wraps = modules.filter((other) => ownerOf(other) === owner);
    if (wraps.length !== adapted.length)
      throw new UnsupportedError(
        `${owner} has factors for ${wraps.length} parameters; of those known, ${parametersOf(owner).join(" and ")}, target_parameters ${JSON.stringify(targets)} names ${adapted.length}. Such an adapter cannot be merged.`,
      );
    const depth = (module.length - owner.length) / ".base_layer".length;
    found.set(module, adapted[adapted.length - 1 - depth]!);
  }
  return found;
}

/** The updates of a parameter's experts, in order.
 * @param scaleOf alpha over the rank, or over its root
 * @throws CheckpointError if the factors do not have the rank that the configuration gives them */
export function splitExperts(
  parameter: string,
  { a, b }: FileFactors,
  { config, scaleOf }: { config: JsonObject; scaleOf(name: string, rank: number): number },
): LoraUpdate[] {
  const patterns = Object.entries((config.rank_pattern ?? {}) as Record<string, number>);
  const rank = patterns.find(([pattern]) => matchesPattern(parameter, pattern))?.[1] ?? Number(config.r);
  const [rows, inFeatures] = a.shape as [number, number];
  const [outFeatures, columns] = b.shape as [number, number];
  const experts = rows / rank;
  if (!Number.isInteger(experts) || columns !== rows)
    throw new CheckpointError(
      `${parameter}: lora_A [${a.shape.join(", ")}] and lora_B [${b.shape.join(", ")}] are not those of experts of rank ${rank}: expected [experts * ${rank}, in] and [out, ${rank} * experts].`,
    );
  return Array.from({ length: experts }, (_, expert) => ({
    ...{ rank, inFeatures, outFeatures, scale: scaleOf(parameter, rank) },
    ...factorsOfExpert({ a: a.data, b: b.data }, { expert, experts, rank, inFeatures, outFeatures, part: 0 }),
  }));
}

export interface MergedFactors {
  /** By module in the file. */
  readonly factors: ReadonlyMap<string, FileFactors>;
  /** Of every layer and every parameter, by path. */
  readonly ranks: ReadonlyMap<string, number>;
  /** The modules that are linear layers. */
  readonly layers: readonly string[];
}

/** Updates as a file holds them. @param parameters those of all sources, with the number of their experts */
export function joinUpdates(updates: ReadonlyMap<string, LoraUpdate>, parameters: ReadonlyMap<string, number>): MergedFactors {
  const ofParameters = new Map(
    [...parameters].map(([path, count]) => [path, Array.from({ length: count }, (_, i) => expertName(path, i))]),
  );
  const ofExperts = new Set([...ofParameters.values()].flat());
  const layers = [...updates.keys()].filter((name) => !ofExperts.has(name));
  // A linear layer is a parameter of one expert.
  const joined = new Map<string, readonly string[]>([...layers.map((layer) => [layer, [layer]] as const), ...ofParameters]);
  const modules = modulesOfParameters(parameters.keys());
  const factors = [...joined].map(
    ([path, names]) => [modules.get(path) ?? path, joinExperts(names.map((name) => updates.get(name)!))] as const,
  );
  return { factors: new Map(factors), ranks: new Map([...joined].map(([path, [first]]) => [path, updates.get(first!)!.rank])), layers };
}

/** The factors of a parameter of all its experts' updates, which have one rank. */
function joinExperts(updates: readonly LoraUpdate[]): FileFactors {
  const { rank, inFeatures, outFeatures } = updates[0]!;
  const experts = updates.length;
  const a = new Float32Array(experts * rank * inFeatures);
  const b = new Float32Array(outFeatures * rank * experts);
  for (const [expert, update] of updates.entries()) {
    a.set(update.a, expert * rank * inFeatures);
    for (let i = 0; i < outFeatures * rank; i++) b[i * experts + expert] = update.b[i]!;
  }
  return { a: { shape: [experts * rank, inFeatures], data: a }, b: { shape: [outFeatures, rank * experts], data: b } };
}

/** Parameters with the modules under which a file holds their factors. */
function modulesOfParameters(parameters: Iterable<string>): Map<string, string> {
  const placeOf = (path: string): number => {
    const at = path.lastIndexOf(".");
    return parametersOf(path.slice(0, at)).indexOf(path.slice(at + 1));
  };
  const paths = [...parameters].sort((one, other) => placeOf(one) - placeOf(other));
  return new Map(paths.map((path) => [path, moduleInFile(path, paths)]));
}
