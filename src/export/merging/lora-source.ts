/** A LoRA adapter folder as merging sees it: one low-rank update a module, without the base model. */
import type { Folder } from "../../base/byte-source.ts";
import { CheckpointError, UnsupportedError } from "../../base/errors.ts";
import { matchesPattern } from "../../methods/match-modules.ts";
import { type JsonObject, readJson } from "../../models/weights/checkpoint.ts";
import { toFloat32 } from "../../models/weights/element-types.ts";
import { openSafetensors, readTensor } from "../../models/weights/safetensors.ts";

import { expertName, parametersInFile, splitExperts } from "./lora-parameters.ts";
import type { LoraUpdate } from "./lora-update.ts";

export interface LoraSource {
  readonly name: string;
  /** adapter_config.json. */
  readonly config: JsonObject;
  /** By module path with PEFT's prefix, `base_model.model.model.layers.0.self_attn.q_proj`; those of experts by `expertName`. */
  readonly modules: ReadonlyMap<string, LoraUpdate>;
  /** Adapted parameters, with the same prefix -> how many experts lie in them; 1 for a router. */
  readonly parameters: ReadonlyMap<string, number>;
}

/** Kinds of LoRA that are more than scale B A on the base as it is. */
const unmergeable: Readonly<Record<string, string>> = {
  use_dora: "DoRA normalises the whole weight, so its parts do not add up",
  lora_bias: "it trains biases of its own",
  modules_to_save: "it trains whole modules beside LoRA, which have no weighted form",
  trainable_token_indices: "it trains single embeddings",
  layer_replication: "it repeats layers of the base",
  arrow_config: "it routes between adapters",
  kasa_config: "it scales singular values of the base",
  use_bdlora: "its factors are block diagonal",
  use_qalora: "its factors work on pooled inputs",
};
/** Starts that change the base weights: such an adapter belongs to a base that is not in its folder. */
const changesBase = ["pissa", "olora", "corda", "loftq", "lora_ga"];

/** @throws CheckpointError if files are missing or damaged; UnsupportedError for a kind of adapter that cannot be merged */
export async function readLoraSource(folder: Folder): Promise<LoraSource> {
  const config = await readJson(folder, "adapter_config.json");
  checkKind(folder.name, config);
  if (!(await folder.has("adapter_model.safetensors")))
    throw new CheckpointError(`${folder.name} has no adapter_model.safetensors. Name the folder of a PEFT adapter.`);
  const file = await openSafetensors(await folder.open("adapter_model.safetensors"));
  const unknown = [...file.tensors.keys()].find((name) => !/\.lora_[AB]\.weight$/.test(name));
  if (unknown !== undefined)
    throw new UnsupportedError(
      `${folder.name}: tensor ${unknown} is not a LoRA factor of a linear layer (lora_A or lora_B); such an adapter cannot be merged.`,
    );
  const read = async (name: string) => {
    const entry = file.tensors.get(name);
    if (!entry) throw new CheckpointError(`${folder.name}: tensor ${name} is missing; every module needs lora_A and lora_B.`);
    return { shape: entry.shape, data: toFloat32({ name, dtype: entry.dtype, bytes: await readTensor(file, entry) }) };
  };
  const inFile = [...new Set([...file.tensors.keys()].map((name) => name.replace(/\.lora_[AB]\.weight$/, "")))].sort();
  const parameterOf = parametersInFile(config, inFile);
  const modules = new Map<string, LoraUpdate>();
  const parameters = new Map<string, number>();
  for (const module of inFile) {
    const [a, b] = [await read(`${module}.lora_A.weight`), await read(`${module}.lora_B.weight`)];
    const rank = a.shape[0]!;
    if (a.shape.length !== 2 || b.shape.length !== 2 || b.shape[1] !== rank)
      throw new CheckpointError(
        `${folder.name}: ${module} has lora_A [${a.shape.join(", ")}] and lora_B [${b.shape.join(", ")}]; expected [rank, in] and [out, rank].`,
      );
    const parameter = parameterOf.get(module);
    if (parameter !== undefined) {
      const updates = splitExperts(parameter, { a, b }, { config, scaleOf: (name, of) => scaleOf(config, name, of) });
      for (const [expert, update] of updates.entries()) modules.set(expertName(parameter, expert), update);
      parameters.set(parameter, updates.length);
    } else
      modules.set(module, {
        ...{ rank, inFeatures: a.shape[1]!, outFeatures: b.shape[0]!, a: a.data, b: b.data },
        scale: scaleOf(config, module, rank),
      });
  }
  return { name: folder.name, config, modules, parameters };
}

function checkKind(name: string, config: JsonObject): void {
  if (config.peft_type !== "LORA")
    throw new UnsupportedError(`${name}: peft_type ${JSON.stringify(config.peft_type)} cannot be merged with others; expected "LORA".`);
  const present = (value: unknown): boolean => (Array.isArray(value) ? value.length > 0 : Boolean(value));
  for (const [key, reason] of Object.entries(unmergeable)) {
    if (present(config[key]))
      throw new UnsupportedError(`${name}: ${key} is ${JSON.stringify(config[key])}: ${reason}. Such an adapter cannot be merged.`);
  }
  if (config.bias !== undefined && config.bias !== "none")
    throw new UnsupportedError(`${name}: bias is ${JSON.stringify(config.bias)}, expected "none": trained biases cannot be merged.`);
  const start = config.init_lora_weights;
  if (typeof start === "string" && changesBase.some((kind) => start.startsWith(kind)))
    throw new UnsupportedError(
      `${name}: init_lora_weights "${start}" changed the base model; convert the adapter to plain LoRA first (PEFT: path_initial_model_for_weight_conversion).`,
    );
}

function scaleOf(config: JsonObject, module: string, rank: number): number {
  const patterns = Object.entries((config.alpha_pattern ?? {}) as Record<string, number>);
  const alpha = patterns.find(([pattern]) => matchesPattern(module, pattern))?.[1] ?? Number(config.lora_alpha);
  return alpha / (config.use_rslora ? Math.sqrt(rank) : rank);
}
