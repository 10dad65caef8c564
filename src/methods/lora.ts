/**
 * LoRA: y = W x + (alpha / r) B A x with W frozen. Hu et al. 2021, https://arxiv.org/abs/2106.09685.
 * rsLoRA scales by alpha / sqrt(r) instead (Kalajdzievski 2023, https://arxiv.org/abs/2312.03732).
 * A starts uniform in +-1/sqrt(in) as in PEFT (the paper: normal), B at zero, so that training starts at the base model.
 */
import { z } from "zod";
import { ConfigError, UnsupportedError } from "../base/errors.ts";
import { nearestName } from "../base/nearest-name.ts";
import type { LinearModule } from "../models/segments.ts";
import { add, matmul } from "../tensor/ops/index.ts";
import { endsWithModule, matchesPattern, selectModules } from "./match-modules.ts";
import { type AddedParameter, type AttachedMethod, defineMethod, type MethodTarget, type ParameterData } from "./method.ts";

const configSchema = z.strictObject({
  name: z.literal("lora"),
  rank: z.int().positive().default(16).describe("Rank r of the update. 8 to 64 is usual; more for new knowledge, less for style."),
  loraAlpha: z.number().positive().optional().describe("Scale of the update: alpha / rank. Default: twice the rank."),
  loraDropout: z.number().min(0).lt(1).default(0).describe("Dropout on the input of A, 0 to below 1."),
  targetModules: z
    .union([z.literal("all-linear"), z.string(), z.array(z.string()).min(1)])
    .default("all-linear")
    .describe('Layers to adapt: "all-linear", a list of module names such as ["q_proj", "v_proj"], or one regular expression.'),
  useRslora: z.boolean().default(false).describe("Scale by alpha / sqrt(rank), which keeps high ranks effective."),
  modulesToSave: z.array(z.string()).default([]).describe("Modules to train whole beside the adapter, for example a new head."),
  rankPattern: z.record(z.string(), z.int().positive()).default({}).describe("Ranks for single modules: name pattern -> rank."),
  alphaPattern: z.record(z.string(), z.number().positive()).default({}).describe("Alphas for single modules: name pattern -> alpha."),
});
export type LoraConfig = z.output<typeof configSchema>;

export const lora = defineMethod({
  name: "lora",
  summary: "Low-rank updates beside frozen linear layers. The usual choice: little memory, mergeable, many adapters on one base.",
  paper: "https://arxiv.org/abs/2106.09685",
  configSchema,
  peftType: "LORA",

  attach(target: MethodTarget, config: LoraConfig): AttachedMethod {
    const adapted = adaptedLinears(target, config);
    const saved = savedParameters(target, config);
    /** A weight with its update added (sign 1) or taken away (-1); undefined where it has none. */
    const fold = (name: string, weight: ParameterData, read: (name: string) => ParameterData, sign: 1 | -1): ParameterData | undefined => {
      const linear = name.endsWith(".weight") ? adapted.get(name.replace(/\.weight$/, "")) : undefined;
      return linear && addUpdate(weight, { linear, scale: sign * linear.scale, a: read(linear.a.name), b: read(linear.b.name) });
    };

    return {
      hooks: {
        linear({ module, input, output }, build) {
          const linear = adapted.get(module);
          if (!linear) return output;
          const [a, b] = [build.parameter(linear.a), build.parameter(linear.b)];
          const inner = build.graph.keep(matmul(build.dropout(input, config.loraDropout), a, { transposeB: true }));
          return add(output, matmul(inner, b, { transposeB: true, alpha: linear.scale }));
        },
      },
      added: [...adapted.values()].flatMap(({ a, b }) => [a, b]),
      trains: (name) => isAdapterWeight(name) || saved.has(name),
      adapter: {
        config: (baseModel) => peftConfig(baseModel, config, [...adapted.values()]),
        fileName: (name) => `base_model.model.${name}`,
        merge: (name, base, read) => (saved.has(name) ? read(name) : fold(name, base, read, 1)),
        unmerge(name, merged, read) {
          if (saved.has(name))
            throw new UnsupportedError(
              `${name} was trained whole (modulesToSave), so the base's values are gone. Take them from the base.`,
            );
          return fold(name, merged, read, -1);
        },
      },
    };
  },

  fromPeft(config): LoraConfig {
    for (const key of [
      "use_dora",
      "lora_bias",
      "use_qalora",
      "target_parameters",
      "layers_to_transform",
      "trainable_token_indices",
      "layer_replication",
    ]) {
      if (config[key])
        throw new UnsupportedError(
          `adapter_config.json: ${key} ${JSON.stringify(config[key])} is not supported yet. Merge the adapter with PEFT and load the merged model.`,
        );
    }
    if (config.bias !== undefined && config.bias !== "none")
      throw new UnsupportedError(`adapter_config.json: bias "${config.bias}" is not supported yet; expected "none".`);
    return configSchema.parse({
      name: "lora",
      rank: config.r,
      loraAlpha: config.lora_alpha,
      loraDropout: config.lora_dropout ?? 0,
      targetModules: config.target_modules,
      useRslora: config.use_rslora ?? false,
      modulesToSave: config.modules_to_save ?? [],
      rankPattern: config.rank_pattern ?? {},
      alphaPattern: config.alpha_pattern ?? {},
    });
  },
});

export interface AdaptedLinear extends LinearModule {
  /** [rank, in]. */
  readonly a: AddedParameter;
  /** [out, rank]. */
  readonly b: AddedParameter;
  readonly scale: number;
}

/** The layers that an adapter reaches, by module. @throws ConfigError if a target matches nothing or a rank is too large */
export function adaptedLinears({ linears }: Pick<MethodTarget, "linears">, config: LoraConfig): Map<string, AdaptedLinear> {
  const byModule = new Map(linears.map((linear) => [linear.module, linear]));
  return new Map(selectModules([...byModule.keys()], config.targetModules).map((module) => [module, adapt(byModule.get(module)!, config)]));
}

function adapt(linear: LinearModule, config: LoraConfig): AdaptedLinear {
  const { module, inFeatures, outFeatures } = linear;
  const rank = patternValue(config.rankPattern, module) ?? config.rank;
  const alpha = patternValue(config.alphaPattern, module) ?? config.loraAlpha ?? 2 * config.rank;
  if (rank > Math.min(inFeatures, outFeatures)) {
    throw new ConfigError(
      `method.rank: ${rank} is above the size of ${module} [${outFeatures}, ${inFeatures}]; choose at most ${Math.min(inFeatures, outFeatures)}.`,
    );
  }
  const bound = 1 / Math.sqrt(inFeatures);
  return {
    ...linear,
    scale: alpha / (config.useRslora ? Math.sqrt(rank) : rank),
    a: {
      ...{ name: `${module}.lora_A.weight`, shape: [rank, inFeatures], kind: "adapter" },
      initialise: (random) => Float32Array.from({ length: rank * inFeatures }, () => (2 * random.next() - 1) * bound),
    },
    b: {
      ...{ name: `${module}.lora_B.weight`, shape: [outFeatures, rank], kind: "adapter" },
      initialise: () => new Float32Array(outFeatures * rank),
    },
  };
}

const isAdapterWeight = (name: string): boolean => /\.lora_[AB]\.weight$/.test(name);

const patternValue = (patterns: Readonly<Record<string, number>>, module: string): number | undefined =>
  Object.entries(patterns).find(([pattern]) => matchesPattern(module, pattern))?.[1];

function savedParameters({ model, parameters }: MethodTarget, config: LoraConfig): Set<string> {
  const saved = new Set<string>();
  for (const module of config.modulesToSave) {
    const found = parameters.filter(({ name }) => endsWithModule(name.slice(0, name.lastIndexOf(".")), module));
    if (found.length === 0) {
      if (module === "lm_head" && model.tieWordEmbeddings) {
        throw new ConfigError(
          "method.modulesToSave: lm_head shares its matrix with the embeddings here (tie_word_embeddings), so it cannot be trained apart. Use method.name: freeze or full, or untie the checkpoint.",
        );
      }
      const modules = [...new Set(parameters.map(({ name }) => name.split(".").at(-2)!))];
      const nearest = nearestName(module, modules);
      throw new ConfigError(
        `method.modulesToSave: "${module}" matches no module.${nearest ? ` Did you mean "${nearest}"?` : ""} Known: ${modules.join(", ")}.`,
      );
    }
    for (const { name } of found) saved.add(name);
  }
  return saved;
}

interface Update {
  readonly linear: AdaptedLinear;
  readonly scale: number;
  readonly a: ParameterData;
  readonly b: ParameterData;
}

/** W + scale B A, in the layout of W; products in float64, rounded once. */
function addUpdate(base: ParameterData, { linear, scale, a, b }: Update): ParameterData {
  const { inFeatures, outFeatures, layout } = linear;
  const rank = a.shape[0]!;
  const merged = new Float32Array(base.data.length);
  const row = new Float64Array(inFeatures);
  for (let o = 0; o < outFeatures; o++) {
    row.fill(0);
    for (let r = 0; r < rank; r++) {
      const factor = scale * b.data[o * rank + r]!;
      for (let i = 0; i < inFeatures; i++) row[i]! += factor * a.data[r * inFeatures + i]!;
    }
    for (let i = 0; i < inFeatures; i++) {
      const at = layout === "out-in" ? o * inFeatures + i : i * outFeatures + o;
      merged[at] = base.data[at]! + row[i]!;
    }
  }
  return { shape: base.shape, data: merged };
}

/** The fields that PEFT 0.21 reads; what is not listed keeps PEFT's default. */
function peftConfig(baseModel: string, config: LoraConfig, adapted: readonly AdaptedLinear[]): Record<string, unknown> {
  const targets = Array.isArray(config.targetModules)
    ? config.targetModules
    : [...new Set(adapted.map(({ module }) => module.slice(module.lastIndexOf(".") + 1)))];
  return {
    peft_type: "LORA",
    task_type: "CAUSAL_LM",
    base_model_name_or_path: baseModel,
    inference_mode: true,
    r: config.rank,
    lora_alpha: config.loraAlpha ?? 2 * config.rank,
    lora_dropout: config.loraDropout,
    target_modules: typeof config.targetModules === "string" && config.targetModules !== "all-linear" ? config.targetModules : targets,
    use_rslora: config.useRslora,
    modules_to_save: config.modulesToSave.length > 0 ? config.modulesToSave : null,
    rank_pattern: config.rankPattern,
    alpha_pattern: config.alphaPattern,
    bias: "none",
    fan_in_fan_out: adapted.some(({ layout }) => layout === "in-out"),
    init_lora_weights: true,
    use_dora: false,
  };
}
