/**
 * Adapter layers: a small network (down, activation, up) on the branches of every block. Three published places for it:
 * houlsby: on what attention and MLP give, https://arxiv.org/abs/1902.00751; pfeiffer: behind the MLP, reading the residual stream
 * with the MLP's output added, https://arxiv.org/abs/2005.00247; parallel: beside the MLP, reading what it reads before its norm,
 * https://arxiv.org/abs/2110.04366. Written and read in the layout of AdapterHub's `adapters`, whose options these are.
 * Differs: the way up starts at zero by default, so training starts exactly at the base model (AdapterHub and the papers: near it).
 */
import { z } from "zod";
import { ConfigError, UnsupportedError } from "../base/errors.ts";
import type { Random } from "../base/random.ts";
import type { Value } from "../tensor/graph.ts";
import { add, gelu, mul, relu, silu, tanh } from "../tensor/ops/index.ts";
import { type AddedParameter, type AttachedMethod, defineMethod, type MethodTarget } from "./method.ts";
import { type LinearLayer, linear } from "./p-tuning.ts";

const activations = {
  relu,
  swish: silu,
  silu,
  tanh,
  gelu: (x: Value) => gelu(x, { approximate: "none" }),
  gelu_new: (x: Value) => gelu(x, { approximate: "tanh" }),
} as const;
type Activation = keyof typeof activations;

const configSchema = z.strictObject({
  name: z.literal("bottleneck"),
  architecture: z
    .enum(["pfeiffer", "houlsby", "parallel"])
    .default("pfeiffer")
    .describe("Where the adapters stand: behind the MLP, behind attention and MLP, or beside the MLP."),
  reductionFactor: z
    .number()
    .positive()
    .optional()
    .describe("Hidden size divided by the adapter's inner size. Default: 16; for parallel 2."),
  nonLinearity: z
    .enum(Object.keys(activations) as [Activation, ...Activation[]])
    .optional()
    .describe("Activation between down and up. Default: relu; for houlsby swish."),
  scaling: z.number().positive().optional().describe("Factor on what the adapter adds. Default: 1; for parallel 4."),
  dropout: z.number().min(0).lt(1).default(0).describe("Dropout on what the adapter adds."),
  mhAdapter: z.boolean().optional().describe("Adapters at attention. Default: for houlsby only."),
  outputAdapter: z.boolean().default(true).describe("Adapters at the MLP."),
  leaveOut: z.array(z.int().min(0)).default([]).describe("Layers without adapters, from 0."),
  initWeights: z
    .enum(["mam_adapter", "bert"])
    .default("mam_adapter")
    .describe("mam_adapter: the way up starts at zero; bert: both ways normal with deviation 0.02."),
  adapterName: z
    .string()
    .regex(/^[\w-]+$/)
    .default("default")
    .describe("Name inside the file, by which AdapterHub's library knows the adapter."),
});
type BottleneckConfig = z.output<typeof configSchema>;

const defaults = {
  pfeiffer: { reductionFactor: 16, nonLinearity: "relu", scaling: 1, mhAdapter: false },
  houlsby: { reductionFactor: 16, nonLinearity: "swish", scaling: 1, mhAdapter: true },
  parallel: { reductionFactor: 2, nonLinearity: "relu", scaling: 4, mhAdapter: false },
} as const;
type Resolved = { [Key in keyof BottleneckConfig]-?: NonNullable<BottleneckConfig[Key]> };

/** Names that AdapterHub gives the places. */
const places = { attention: "attention_adapters", mlp: "output_adapters" } as const;

interface AdapterLayer {
  readonly down: LinearLayer;
  readonly up: LinearLayer;
}

export const bottleneck = defineMethod({
  name: "bottleneck",
  summary: "Adapter layers (Houlsby, Pfeiffer, parallel): small networks inside every block. Not mergeable; AdapterHub's format.",
  paper: "https://arxiv.org/abs/1902.00751",
  configSchema,
  peftType: "adapterhub:bottleneck",

  attach(target: MethodTarget, given: BottleneckConfig): AttachedMethod {
    const config = { ...defaults[given.architecture], ...withoutUndefined(given) } as Resolved;
    const layers = adapterLayers(target, config);
    const added = [...layers.values()].flatMap(({ down, up }) => [...down.parameters, ...up.parameters]);
    const names = new Set(added.map(({ name }) => name));
    return {
      hooks: {
        residual(branch, build, { module, input }) {
          const layer = module === "embedding" ? undefined : layers.get(build.nameOf(places[module]));
          if (!layer) return branch;
          const x = { houlsby: () => branch, pfeiffer: () => add(branch, input), parallel: () => input }[config.architecture]();
          const inner = activations[config.nonLinearity](build.graph.keep(layer.down.build(build, build.graph.keep(x))));
          return add(branch, build.dropout(mul(layer.up.build(build, inner), config.scaling), config.dropout));
        },
      },
      added,
      trains: (name) => names.has(name),
      adapter: {
        weightsFile: "adapter.safetensors",
        floatFields: ["scaling"],
        config: (baseModel) => hubConfig(target, config, baseModel),
        fileName: (name) => name,
      },
    };
  },

  fromPeft: (json) => fromHub(json),
});

const withoutUndefined = <T extends object>(value: T): T =>
  Object.fromEntries(Object.entries(value).filter(([, inner]) => inner !== undefined)) as T;

/** The adapter of every place that has one, by the place's whole name. */
function adapterLayers({ model }: MethodTarget, config: Resolved): Map<string, AdapterLayer> {
  const { hiddenSize, numHiddenLayers } = model;
  const outside = config.leaveOut.filter((layer) => layer >= numHiddenLayers);
  if (outside.length > 0)
    throw new ConfigError(`method.leaveOut: ${outside.join(", ")} is not a layer of this model; it has 0 to ${numHiddenLayers - 1}.`);
  const inner = Math.max(1, Math.floor(hiddenSize / config.reductionFactor));
  const layers = new Map<string, AdapterLayer>();
  for (let layer = 0; layer < numHiddenLayers; layer++) {
    if (config.leaveOut.includes(layer)) continue;
    for (const place of [...(config.mhAdapter ? ["attention" as const] : []), ...(config.outputAdapter ? ["mlp" as const] : [])]) {
      const module = `${model.blockPrefix(layer)}${places[place]}`;
      const name = `${module}.adapters.${config.adapterName}`;
      layers.set(module, {
        down: started(linear(`${name}.adapter_down.0`, hiddenSize, inner), config, "down"),
        up: started(linear(`${name}.adapter_up`, inner, hiddenSize), config, "up"),
      });
    }
  }
  if (layers.size === 0)
    throw new ConfigError(
      "method: mhAdapter and outputAdapter are both off, or every layer is left out, so there is nothing to train. Turn one on.",
    );
  return layers;
}

/** A layer with AdapterHub's start values: biases at zero, weights as `initWeights` says. */
function started(layer: LinearLayer, { initWeights }: Resolved, way: "down" | "up"): LinearLayer {
  const zero = ({ shape }: AddedParameter) => new Float32Array(shape.reduce((product, n) => product * n, 1));
  const weight: AddedParameter = {
    ...layer.weight,
    initialise(random: Random, base, held) {
      if (initWeights === "bert") return zero(layer.weight).map(() => 0.02 * random.normal());
      return way === "up" ? zero(layer.weight) : layer.weight.initialise(random, base, held);
    },
  };
  const bias: AddedParameter = { ...layer.bias, initialise: () => zero(layer.bias) };
  return { ...layer, weight, bias, parameters: [weight, bias] };
}

/** The flags by which AdapterHub tells the three architectures apart. */
const flags = {
  pfeiffer: { is_parallel: false, original_ln_before: true },
  houlsby: { is_parallel: false, original_ln_before: false },
  parallel: { is_parallel: true, original_ln_before: false },
} as const;

/** Options that have to stand at these values. */
const fixed: Readonly<Record<string, unknown>> = {
  ...{ original_ln_after: true, residual_before_ln: true, adapter_residual_before_ln: false, ln_before: false, ln_after: false },
  ...{ use_gating: false, phm_layer: false, inv_adapter: null, cross_adapter: false, stochastic_depth: 0 },
};

const hubConfig = ({ model }: MethodTarget, config: Resolved, baseModel: string): Record<string, unknown> => ({
  config: {
    ...fixed,
    ...flags[config.architecture],
    mh_adapter: config.mhAdapter,
    output_adapter: config.outputAdapter,
    reduction_factor: config.reductionFactor,
    non_linearity: config.nonLinearity,
    scaling: config.scaling,
    dropout: config.dropout,
    leave_out: config.leaveOut,
    init_weights: config.initWeights,
  },
  hidden_size: model.hiddenSize,
  model_name: baseModel,
  model_type: model.modelType,
  name: config.adapterName,
  version: "adapters.1.3.0",
});

function fromHub(json: Readonly<Record<string, unknown>>): BottleneckConfig {
  const config = json.config as Readonly<Record<string, unknown>>;
  const problems = Object.entries(fixed).filter(([key, value]) => config[key] !== undefined && config[key] !== value);
  for (const key of ["scaling", "reduction_factor"]) if (typeof config[key] !== "number") problems.push([key, "a number"]);
  if (!Object.hasOwn(activations, String(config.non_linearity))) problems.push(["non_linearity", Object.keys(activations).join(", ")]);
  if (problems.length > 0)
    throw new UnsupportedError(
      problems
        .map(([key, value]) => `adapter_config.json: ${key} ${JSON.stringify(config[key])} is not supported; expected ${value}.`)
        .join("\n"),
    );
  const isPfeiffer = config.original_ln_before === true;
  return configSchema.parse({
    name: "bottleneck",
    architecture: config.is_parallel === true ? "parallel" : isPfeiffer ? "pfeiffer" : "houlsby",
    reductionFactor: config.reduction_factor,
    nonLinearity: config.non_linearity,
    scaling: config.scaling,
    dropout: config.dropout ?? 0,
    mhAdapter: config.mh_adapter,
    outputAdapter: config.output_adapter,
    leaveOut: config.leave_out ?? [],
    adapterName: json.name,
  });
}
