/** Several LoRA adapters into one PEFT adapter folder, module by module. */
import { CheckpointError, UnsupportedError } from "../../base/errors.ts";
import type { FileContent } from "../../base/folder-shelf.ts";
import type { Random } from "../../base/random.ts";
import type { ParameterData } from "../../methods/method.ts";
import { bytesOf } from "../../models/weights/element-types.ts";
import { encodeSafetensors, type TensorToWrite } from "../../models/weights/safetensors.ts";
import type { AdapterMethod } from "./adapter-methods.ts";
import { joinUpdates } from "./lora-parameters.ts";
import type { LoraSource } from "./lora-source.ts";
import type { LoraUpdate } from "./lora-update.ts";

export interface MergeAdaptersOptions {
  readonly sources: readonly LoraSource[];
  /** One for each source. */
  readonly weights: readonly number[];
  readonly method: AdapterMethod;
  readonly config: unknown;
  /** A stream of random numbers for a module. */
  randomFor(module: string): Random;
}

/** A module that only some adapters have is merged from those, an expert by itself. @throws CheckpointError if the adapters belong to different bases */
export function mergeAdapters({ sources, weights, method, config, randomFor }: MergeAdaptersOptions): Map<string, LoraUpdate> {
  checkShapes(sources);
  const largestRank = Math.max(...sources.flatMap(({ modules }) => [...modules.values()].map(({ rank }) => rank)));
  const merged = new Map<string, LoraUpdate>();
  for (const module of [...new Set(sources.flatMap(({ modules }) => [...modules.keys()]))].sort()) {
    const having = sources.map((_, i) => i).filter((i) => sources[i]!.modules.has(module));
    const updates = having.map((i) => sources[i]!.modules.get(module)!);
    const options = { weights: having.map((i) => weights[i]!), random: randomFor(module), module, largestRank };
    merged.set(module, method.merge(updates, options, config));
  }
  return merged;
}

function checkShapes(sources: readonly LoraSource[]): void {
  const problems: string[] = [];
  const seen = new Map<string, { source: string; shape: string }>();
  checkNames(sources);
  for (const { name: source, modules, parameters } of sources) {
    for (const [module, { outFeatures, inFeatures }] of modules) {
      const shape = `[${outFeatures}, ${inFeatures}]`;
      const before = seen.get(module);
      if (!before) seen.set(module, { source, shape });
      else if (before.shape !== shape) problems.push(`${module} is ${before.shape} in ${before.source}, ${shape} in ${source}`);
    }
    for (const [parameter, experts] of parameters) {
      const other = sources.find((of) => of.parameters.has(parameter))!;
      const before = other.parameters.get(parameter);
      if (before !== experts) problems.push(`${parameter} has ${before} experts in ${other.name}, ${experts} in ${source}`);
    }
  }
  if (problems.length === 0) return;
  const shown = problems.slice(0, 8).map((problem) => `\n  - ${problem}`);
  throw new CheckpointError(
    `the adapters were made for different base models (${problems.length} modules differ):${shown.join("")}\nMerge adapters of one base.`,
  );
}

/** @throws UnsupportedError if experts stand under different names, so that they would not meet */
function checkNames(sources: readonly LoraSource[]): void {
  const older = sources.find(({ modules }) => [...modules.keys()].some((name) => /\.experts\.\d+\./.test(name)));
  const newer = sources.find(({ parameters }) => parameters.size > 0);
  if (older && newer)
    throw new UnsupportedError(
      `${older.name} names every expert by itself, as transformers 4 does, and ${newer.name} adapts parameters (target_parameters ${JSON.stringify(newer.config.target_parameters)}). Write the first one anew with: tunesmith export <base> <folder> --adapter ${older.name} --format peft`,
    );
}

/**
 * adapter_config.json and adapter_model.safetensors. The config is the first source's with the new ranks and every scale one.
 * Differs from PEFT: it keeps use_rslora, under which the merged adapter would act sqrt(rank) times too strong.
 */
export function encodeMergedAdapter(merged: ReadonlyMap<string, LoraUpdate>, sources: readonly LoraSource[]): Record<string, FileContent> {
  const parameters = new Map(sources.flatMap((source) => [...source.parameters]));
  const { factors, ranks, layers } = joinUpdates(merged, parameters);
  const rank = Math.max(...ranks.values());
  const others = Object.fromEntries([...ranks].filter(([, of]) => of !== rank).map(([path, of]) => [pathInBase(path), of]));
  const config = {
    ...sources[0]!.config,
    ...{ r: rank, lora_alpha: rank, rank_pattern: others, alpha_pattern: others },
    ...{ use_rslora: false, init_lora_weights: true, inference_mode: true },
    ...{ target_modules: targetModules(layers, sources), exclude_modules: null, layers_to_transform: null, layers_pattern: null },
    // PEFT takes no dropout beside parameters.
    ...(parameters.size > 0 && { target_parameters: targetParameters(sources), lora_dropout: 0 }),
  };
  const written = ({ shape, data }: ParameterData): TensorToWrite => ({ dtype: "F32", shape, read: async () => bytesOf(data) });
  const tensors = new Map<string, TensorToWrite>();
  for (const [module, { a, b }] of [...factors].sort(([one], [other]) => (one < other ? -1 : 1))) {
    tensors.set(`${module}.lora_A.weight`, written(a));
    tensors.set(`${module}.lora_B.weight`, written(b));
  }
  return { "adapter_config.json": `${JSON.stringify(config, null, 2)}\n`, "adapter_model.safetensors": encodeSafetensors(tensors) };
}

const pathInBase = (module: string): string => module.replace(/^base_model\.model\./, "");

/** The union of the lists of names; whole paths where a source chose its modules in another way (a pattern, single layers). */
function targetModules(modules: readonly string[], sources: readonly LoraSource[]): string[] {
  const plain = sources.every(
    ({ config }) =>
      Array.isArray(config.target_modules) && !config.exclude_modules && !config.layers_to_transform && !config.layers_pattern,
  );
  if (!plain) return modules.map(pathInBase);
  return [...new Set(sources.flatMap(({ config }) => config.target_modules as string[]))].sort();
}

const targetParameters = (sources: readonly LoraSource[]): string[] =>
  [...new Set(sources.flatMap(({ config }) => (config.target_parameters ?? []) as string[]))].sort();
