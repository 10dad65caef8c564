/**
 * (IA)^3: learned factors on keys, values and the inputs of the MLP's last layer. Liu et al. 2022, https://arxiv.org/abs/2205.05638.
 * All factors start at one, so training starts at the base model. Where a layer is feedforward the factors scale its input,
 * elsewhere its output, bias included. As in PEFT the factors of a joint projection (GPT-2's c_attn) scale queries too (the paper: not).
 */
import { z } from "zod";
import { ConfigError, UnsupportedError } from "../base/errors.ts";
import { endsWithModule } from "../base/module-names.ts";
import type { LinearModule } from "../models/segments.ts";
import { mul, reshape } from "../tensor/ops/index.ts";
import { selectLinears, selectModules } from "./match-modules.ts";
import { type AddedParameter, type AttachedMethod, defineMethod, type MethodTarget, type ParameterData } from "./method.ts";

/** What the paper scales, by the names that families give it: keys and values, and the MLP's way out. */
const attentionModules = ["k_proj", "v_proj", "c_attn", "query_key_value", "Wqkv", "key", "value", "k_lin", "v_lin", "k", "v"];
const feedforwardModules = ["down_proj", "mlp.c_proj", "dense_4h_to_h", "fc2", "output.dense", "ffn.lin2", "mlp.Wo", "wo", "w2"];

const modules = z.union([z.string(), z.array(z.string())]);
const configSchema = z.strictObject({
  name: z.literal("ia3"),
  targetModules: modules
    .optional()
    .describe('Layers to scale: "all-linear", a list of names, or one regular expression. Default: keys, values and the MLP output.'),
  feedforwardModules: modules
    .optional()
    .describe("Those of the target modules whose input is scaled instead of their output. Default: the MLP output among the targets."),
});
export type Ia3Config = z.output<typeof configSchema>;

interface ScaledLinear extends LinearModule {
  readonly isFeedforward: boolean;
  /** [1, in] for feedforward layers, [out, 1] for others. */
  readonly factors: AddedParameter;
}

export const ia3 = defineMethod({
  name: "ia3",
  summary: "(IA)^3: one learned factor for each key, value and MLP channel. The fewest parameters of all mergeable methods.",
  paper: "https://arxiv.org/abs/2205.05638",
  configSchema,
  peftType: "IA3",

  attach(target: MethodTarget, config: Ia3Config): AttachedMethod {
    const { targets, feedforward } = chooseModules(target, config);
    const scaled = new Map<string, ScaledLinear>();
    for (const linear of target.linears) {
      if (targets.selected.has(linear.module))
        scaled.set(linear.module, withFactors(linear, { isFeedforward: feedforward.selected.has(linear.module) }));
    }
    const scale = (name: string, base: ParameterData, factorsOf: (linear: ScaledLinear) => Float32Array): ParameterData | undefined => {
      const linear = scaled.get(name.replace(/\.(weight|bias)$/, ""));
      return linear && scaleBy(factorsOf(linear), base, { linear, isBias: name.endsWith(".bias") });
    };
    return {
      hooks: {
        linearInput({ module, input }, build) {
          const linear = scaled.get(module);
          return linear?.isFeedforward ? mul(input, reshape(build.parameter(linear.factors), [linear.inFeatures])) : input;
        },
        linear({ module, output }, build) {
          const linear = scaled.get(module);
          if (!linear || linear.isFeedforward) return output;
          return mul(build.graph.keep(output), reshape(build.parameter(linear.factors), [linear.outFeatures]));
        },
      },
      added: [...scaled.values()].map(({ factors }) => factors),
      trains: (name) => name.endsWith(".ia3_l"),
      adapter: {
        config: (baseModel) => ({
          peft_type: "IA3",
          task_type: "CAUSAL_LM",
          base_model_name_or_path: baseModel,
          inference_mode: true,
          target_modules: targets.names,
          feedforward_modules: feedforward.names,
          fan_in_fan_out: [...scaled.values()].some(({ layout }) => layout === "in-out"),
          modules_to_save: null,
          init_ia3_weights: true,
        }),
        fileName: (name) => `base_model.model.${name}`,
        merge: (name, base, read) => scale(name, base, (linear) => read(linear.factors.name).data),
        unmerge: (name, merged, read) => scale(name, merged, (linear) => read(linear.factors.name).data.map((factor) => 1 / factor)),
      },
    };
  },

  fromPeft(config): Ia3Config {
    for (const key of ["modules_to_save", "exclude_modules"])
      if (config[key] !== undefined && config[key] !== null)
        throw new UnsupportedError(
          `adapter_config.json: ${key} ${JSON.stringify(config[key])} is not supported for IA3. Merge the adapter with PEFT and load the merged model.`,
        );
    return configSchema.parse({
      name: "ia3",
      ...(config.target_modules ? { targetModules: config.target_modules } : {}),
      ...(config.feedforward_modules ? { feedforwardModules: config.feedforward_modules } : {}),
    });
  },
});

interface Chosen {
  readonly selected: ReadonlySet<string>;
  /** As PEFT's configuration names them. */
  readonly names: string | readonly string[];
}

function chooseModules({ linears }: MethodTarget, config: Ia3Config): { targets: Chosen; feedforward: Chosen } {
  const present = (names: readonly string[], among: readonly string[]): string[] =>
    names.filter((name) => among.some((module) => endsWithModule(module, name)));
  const usual = selectLinears(linears, "all-linear");
  const given = config.targetModules ?? present([...attentionModules, ...feedforwardModules], usual);
  if (given.length === 0)
    throw new ConfigError(
      "method.targetModules: no layer here has one of the usual names, so there is no default. Name the layers to scale.",
    );
  const targeted = selectLinears(linears, given);
  const inner = config.feedforwardModules ?? present(feedforwardModules, targeted);
  const feedforward = inner.length === 0 ? [] : selectModules(targeted, inner, { field: "feedforwardModules", kind: "target module" });
  const lastParts = [...new Set(targeted.map((module) => module.slice(module.lastIndexOf(".") + 1)))];
  return {
    targets: { selected: new Set(targeted), names: given === "all-linear" ? lastParts : given },
    feedforward: { selected: new Set(feedforward), names: inner },
  };
}

function withFactors(linear: LinearModule, { isFeedforward }: { isFeedforward: boolean }): ScaledLinear {
  const shape = isFeedforward ? [1, linear.inFeatures] : [linear.outFeatures, 1];
  const initialise = (): Float32Array => new Float32Array(shape[0]! * shape[1]!).fill(1);
  return { ...linear, isFeedforward, factors: { name: `${linear.module}.ia3_l`, shape, kind: "adapter", initialise } };
}

/** Rows or columns of a weight times the factors; biases only where outputs are scaled. */
function scaleBy(factors: Float32Array, base: ParameterData, { linear, isBias }: { linear: ScaledLinear; isBias: boolean }) {
  if (isBias) return linear.isFeedforward ? undefined : { ...base, data: base.data.map((value, o) => value * factors[o]!) };
  const columns = base.shape[1]!;
  const byColumn = linear.isFeedforward === (linear.layout === "out-in");
  return { ...base, data: base.data.map((value, i) => value * factors[byColumn ? i % columns : Math.floor(i / columns)]!) };
}
