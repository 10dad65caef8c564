/** The options of LoRA and its relatives, and how they stand in PEFT's adapter_config.json. */
import { z } from "zod";
import { UnsupportedError } from "../../base/errors.ts";
import { endsWithModule } from "../../base/module-names.ts";
import { matchesPattern } from "../match-modules.ts";
import type { MethodTarget } from "../method.ts";
import type { AdaptedLinear } from "./adapted-linear.ts";
import { type BareParameter, namesForPeft, patternsForPeft } from "./bare-parameters.ts";
import { changesBase, initialisations } from "./initialisation.ts";

export const configSchema = z.strictObject({
  name: z.literal("lora"),
  rank: z.int().positive().default(16).describe("Rank r of the update. 8 to 64 is usual; more for new knowledge, less for style."),
  loraAlpha: z.number().positive().optional().describe("Scale of the update: alpha / rank. Default: twice the rank."),
  loraDropout: z.number().min(0).lt(1).default(0).describe("Dropout on the input of A, 0 to below 1."),
  targetModules: z
    .union([z.literal("all-linear"), z.string(), z.array(z.string())])
    .default("all-linear")
    .describe('Layers to adapt: "all-linear", a list of module names such as ["q_proj", "v_proj"], or one regular expression.'),
  targetParameters: z
    .array(z.string())
    .default([])
    .describe(
      'Weights to adapt beside, by the end of PEFT\'s name: "experts.gate_up_proj" and "experts.down_proj" for the experts of a mixture, whose gate and up then share A, "gate.weight" for its router.',
    ),
  excludeModules: z.array(z.string()).default([]).describe("Of those, layers to leave out, by name."),
  layersToTransform: z.array(z.int().min(0)).optional().describe("Only blocks with these numbers, from 0."),
  useRslora: z.boolean().default(false).describe("Scale by alpha / sqrt(rank), which keeps high ranks effective."),
  useDora: z.boolean().default(false).describe("DoRA: learn the length of every row of the weight apart from its direction."),
  loraPlusLrRatio: z
    .number()
    .positive()
    .default(1)
    .describe("LoRA+: the learning rate of B is this many times that of A; 16 is usual, 1 is off."),
  initLoraWeights: z
    .enum(initialisations)
    .default("default")
    .describe(
      "Start of A and B. pissa and olora begin at the base weight's own main directions, which learns faster; loftq makes up for what quantization rounds away; eva begins at the main directions of what the layers read from the training data.",
    ),
  loftqIter: z.int().positive().default(1).describe("loftq: rounds of quantising the rest and approximating the error; 1 to 5 is usual."),
  evaConfig: z
    .strictObject({
      rho: z
        .number()
        .min(1)
        .default(2)
        .describe("Layers may get up to this many times the rank, at the cost of others; 1 keeps ranks equal."),
      tau: z
        .number()
        .gt(0)
        .max(1)
        .default(0.99)
        .describe("A direction is found when it turns less than this cosine from one batch to the next."),
      useLabelMask: z.boolean().default(true).describe("Look at supervised tokens only."),
      whiten: z.boolean().default(false).describe("Divide directions by the root of their singular values."),
      adjustScalingFactors: z.boolean().default(true).describe("Keep the scale of the update where a rank changes."),
    })
    .prefault({})
    .describe("Of eva."),
  bias: z.enum(["none", "all", "lora_only"]).default("none").describe("Biases to train beside: none, all, or those of adapted layers."),
  modulesToSave: z.array(z.string()).default([]).describe("Modules to train whole beside the adapter, for example a new head."),
  rankPattern: z.record(z.string(), z.int().positive()).default({}).describe("Ranks for single modules: name pattern -> rank."),
  alphaPattern: z.record(z.string(), z.number().positive()).default({}).describe("Alphas for single modules: name pattern -> alpha."),
});
export type LoraConfig = z.output<typeof configSchema>;

export const rankOf = (config: LoraConfig, module: string): number => patternValue(config.rankPattern, module) ?? config.rank;
export const alphaOf = (config: LoraConfig, module: string): number =>
  patternValue(config.alphaPattern, module) ?? config.loraAlpha ?? 2 * config.rank;

const patternValue = (patterns: Readonly<Record<string, number>>, module: string): number | undefined =>
  Object.entries(patterns).find(([pattern]) => matchesPattern(module, pattern))?.[1];

/** Options of PEFT that change the numbers and that are not built. */
const notBuilt = ["lora_bias", "use_qalora", "trainable_token_indices", "layer_replication", "use_bdlora", "kasa_config"];

/** @param tensors names in the adapter's file
 * @throws UnsupportedError for options that are not built */
export function fromPeft(config: Readonly<Record<string, unknown>>, tensors: readonly string[] = []): LoraConfig {
  for (const key of notBuilt) {
    if (config[key])
      throw new UnsupportedError(
        `adapter_config.json: ${key} ${JSON.stringify(config[key])} is not supported yet. Merge the adapter with PEFT and load the merged model.`,
      );
  }
  const { init_lora_weights: start } = config;
  if (typeof start === "string" && /^(pissa_niter_\d+|corda|lora_ga)$/.test(start))
    throw new UnsupportedError(
      `adapter_config.json: init_lora_weights "${start}" belongs to a base whose weights were changed in a way that cannot be repeated here. Save it with path_initial_model_for_weight_conversion, which writes an adapter for the original base.`,
    );
  const repeated = (["pissa", "olora", "loftq"] as const).find((name) => name === start);
  const layers = config.layers_to_transform;
  return configSchema.parse({
    name: "lora",
    rank: config.r,
    loraAlpha: config.lora_alpha,
    loraDropout: config.lora_dropout ?? 0,
    ...targetsIn(config, tensors),
    excludeModules: typeof config.exclude_modules === "string" ? [config.exclude_modules] : (config.exclude_modules ?? []),
    ...(layers !== undefined && layers !== null && { layersToTransform: typeof layers === "number" ? [layers] : layers }),
    ...(repeated && { initLoraWeights: repeated }),
    ...(repeated === "loftq" && { loftqIter: (config.loftq_config as { loftq_iter?: number } | undefined)?.loftq_iter ?? 1 }),
    useRslora: config.use_rslora ?? false,
    useDora: config.use_dora ?? false,
    bias: config.bias ?? "none",
    modulesToSave: config.modules_to_save ?? [],
    rankPattern: config.rank_pattern ?? {},
    alphaPattern: config.alpha_pattern ?? {},
  });
}

/** What is adapted. PEFT on transformers 4 names experts as all other layers (`w1`, `gate`); which ones are meant stands in the file. */
function targetsIn(
  config: Readonly<Record<string, unknown>>,
  tensors: readonly string[],
): Pick<LoraConfig, "targetModules" | "targetParameters"> {
  const targetModules = (config.target_modules ?? []) as LoraConfig["targetModules"];
  const targetParameters = (config.target_parameters ?? []) as string[];
  const experts = new Set(tensors.flatMap((name) => /experts\.\d+\.\w+(?=\.lora_)/.exec(name) ?? []));
  if (experts.size === 0 || typeof targetModules === "string") return { targetModules, targetParameters };
  const modules = tensors.map((name) => name.replace(/\.lora_.*$/, "")).filter((module) => !/experts\.\d+\.\w+$/.test(module));
  const named = targetModules.filter((target) => target !== "gate" && modules.some((module) => endsWithModule(module, target)));
  const hasRouter = modules.some((module) => endsWithModule(module, "gate"));
  return { targetModules: [...named, ...experts], targetParameters: hasRouter ? [...targetParameters, "gate.weight"] : targetParameters };
}

/** An adapter whose start changed the base is written as its difference, of twice the rank. */
export const timesInFile = (config: LoraConfig, quantised: MethodTarget["quantised"]): 1 | 2 => (changesBase(config) && !quantised ? 2 : 1);

export interface PeftOptions {
  readonly adapted: readonly AdaptedLinear[];
  readonly bare: readonly BareParameter[];
  readonly target: Pick<MethodTarget, "linears" | "quantised">;
}

/**
 * The fields that PEFT 0.21 reads; what is not listed keeps PEFT's default. On a quantised base, where codes are no sum, with the name of a
 * start that changed the base, so that the base can be made again. PEFT knows no dropout beside bare parameters.
 */
export function toPeft(baseModel: string, config: LoraConfig, { adapted, bare, target }: PeftOptions): Record<string, unknown> {
  const { quantised } = target;
  const isStartKept = quantised !== undefined && changesBase(config);
  const times = timesInFile(config, quantised);
  const scaled = (values: Readonly<Record<string, number>>, by: number) =>
    Object.fromEntries(Object.entries(values).map(([pattern, value]) => [pattern, value * by]));
  const alphaTimes = config.useRslora ? Math.sqrt(times) : times;
  const [rank, alpha] = [times * config.rank, alphaTimes * (config.loraAlpha ?? 2 * config.rank)];
  const [ranks, alphas] = [scaled(config.rankPattern, times), scaled(config.alphaPattern, alphaTimes)];
  const alphaOfBare = (of: BareParameter): number => of.scale * (config.useRslora ? Math.sqrt(of.rank) : of.rank);
  return {
    peft_type: "LORA",
    task_type: "CAUSAL_LM",
    base_model_name_or_path: baseModel,
    inference_mode: true,
    r: rank,
    lora_alpha: alpha,
    lora_dropout: bare.length > 0 ? 0 : config.loraDropout,
    target_modules: modulesForPeft(config.targetModules, { adapted, bare }),
    ...(bare.length > 0 && { target_parameters: namesForPeft(bare, target.linears) }),
    exclude_modules: config.excludeModules.length > 0 ? config.excludeModules : null,
    layers_to_transform: config.layersToTransform ?? null,
    use_rslora: config.useRslora,
    use_dora: config.useDora,
    modules_to_save: config.modulesToSave.length > 0 ? config.modulesToSave : null,
    rank_pattern: {
      ...patternsForPeft(
        bare,
        (of) => of.rank,
        (name) => patternValue(ranks, name) ?? rank,
      ),
      ...ranks,
    },
    alpha_pattern: { ...patternsForPeft(bare, alphaOfBare, (name) => patternValue(alphas, name) ?? alpha), ...alphas },
    bias: config.bias,
    fan_in_fan_out: adapted.some(({ layout }) => layout === "in-out"),
    init_lora_weights: isStartKept || config.initLoraWeights === "eva" ? config.initLoraWeights : true,
    ...(config.initLoraWeights === "eva" && { eva_config: evaToPeft(config.evaConfig) }),
    ...(isStartKept &&
      config.initLoraWeights === "loftq" && { loftq_config: { loftq_bits: quantised.bits, loftq_iter: config.loftqIter } }),
  };
}

function modulesForPeft(
  targets: LoraConfig["targetModules"],
  { adapted, bare }: Pick<PeftOptions, "adapted" | "bare">,
): string | readonly string[] {
  const ofParameters = new Set(bare.flatMap(({ layers }) => layers.map(({ module }) => module)));
  const modules = adapted.map(({ module }) => module).filter((module) => !ofParameters.has(module));
  if (targets === "all-linear") return [...new Set(modules.map((module) => module.slice(module.lastIndexOf(".") + 1)))];
  if (bare.length === 0) return targets;
  return typeof targets === "string" ? modules : targets.filter((target) => modules.some((module) => endsWithModule(module, target)));
}

const evaToPeft = ({ rho, tau, useLabelMask, whiten, adjustScalingFactors }: LoraConfig["evaConfig"]) => ({
  ...{ rho, tau, use_label_mask: useLabelMask, label_mask_value: -100, whiten },
  adjust_scaling_factors: adjustScalingFactors,
});
