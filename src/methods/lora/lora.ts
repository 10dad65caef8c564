/**
 * LoRA: y = W x + scale B A x with W frozen and scale = alpha / r. Hu et al. 2021, https://arxiv.org/abs/2106.09685.
 *   rsLoRA  scale = alpha / sqrt(r). Kalajdzievski 2023, https://arxiv.org/abs/2312.03732
 *   DoRA    rows of W + scale B A are brought to learned lengths m; the norm they are divided by gets no gradient, as in the
 *           paper's section 4.3. Liu et al. 2024, https://arxiv.org/abs/2402.09353
 *   LoRA+   a greater learning rate for B. Hayou et al. 2024, https://arxiv.org/abs/2402.12354
 * Starts of A and B: initialisation.ts.
 */
import { ConfigError, UnsupportedError } from "../../base/errors.ts";
import { endsWithModule } from "../../base/module-names.ts";
import { nearestName } from "../../base/nearest-name.ts";
import type { LinearCall, SegmentBuilder } from "../../models/segment-builder.ts";
import type { Value } from "../../tensor/graph.ts";
import { add, div, matmul, mul, reduceSum, sqrt, stopGradient, sub } from "../../tensor/ops/index.ts";
import { parameterOf, selectByParameters, selectLinears, selectModules } from "../match-modules.ts";
import {
  type AddedParameter,
  type AttachedMethod,
  defineMethod,
  type MethodTarget,
  type ObservedInputs,
  type ParameterData,
} from "../method.ts";
import { type AdaptedLinear, adaptLinear, mergeInto, unmergeFrom } from "./adapted-linear.ts";
import { bareParameters, joinBare, splitBare } from "./bare-parameters.ts";
import { configSchema, fromPeft, type LoraConfig, timesInFile, toPeft } from "./config.ts";
import { findStart } from "./eva.ts";

export const lora = defineMethod({
  name: "lora",
  summary: "Low-rank updates beside frozen linear layers. The usual choice: little memory, mergeable, many adapters on one base.",
  paper: "https://arxiv.org/abs/2106.09685",
  configSchema,
  peftType: "LORA",
  fromPeft,

  attach: (target: MethodTarget, config: LoraConfig) => attach(target, config),
  readsData: ({ initLoraWeights }: LoraConfig) => initLoraWeights === "eva",
  attachToData,
});

function attach(target: MethodTarget, config: LoraConfig, given: ReadonlyMap<string, Float32Array> = new Map()): AttachedMethod {
  checkStart(target, { config, given });
  const adapted = adaptedLinears(target, config, given);
  const all = [...adapted.values()];
  const times = timesInFile(config, target.quantised);
  const bare = bareParameters(all, { linears: target.linears, config, times });
  const saved = savedParameters(target, config);
  const biases = trainedBiases(target, { config, adapted });
  const linearOf = (name: string): AdaptedLinear | undefined => adapted.get(name.slice(0, name.lastIndexOf(".")));

  return {
    hooks: {
      linear(call, build) {
        const linear = adapted.get(call.module);
        return linear ? forward(call, { linear, config, build }) : call.output;
      },
    },
    added: [...new Set(all.flatMap(({ a, b, magnitude }) => (magnitude ? [a, b, magnitude] : [a, b])))],
    trains: (name) => isAdapterParameter(name) || saved.has(name) || biases.has(name),
    learningRateFactor: (name) => (name.endsWith(".lora_B.weight") ? config.loraPlusLrRatio : 1),
    changedBase: new Map(all.flatMap(({ module, residual }) => (residual ? [[`${module}.weight`, residual] as const] : []))),
    adapter: {
      config: (baseModel) => toPeft(baseModel, config, { adapted: all, bare, target }),
      fileName: (name) => `base_model.model.${biases.has(name) && linearOf(name) ? name.replace(/bias$/, "base_layer.bias") : name}`,
      ...((times > 1 || bare.length > 0) && {
        pack: (tensors: Tensors) => joinBare(times > 1 ? asDifference(tensors, all) : tensors, bare),
      }),
      ...(bare.length > 0 && { unpack: (tensors: Tensors) => splitBare(tensors, bare) }),
      merge(name, base, read) {
        const linear = name.endsWith(".weight") ? linearOf(name) : undefined;
        if (linear) return mergeInto(base, linear, read);
        return saved.has(name) ? read(name) : undefined;
      },
      // A row that DoRA brought to another length no longer tells its own.
      ...(!config.useDora && {
        unmerge(name: string, merged: ParameterData, read: (name: string) => ParameterData) {
          if (saved.has(name) || biases.has(name))
            throw new UnsupportedError(
              `${name} was trained whole (modulesToSave or bias), so the base's values are gone. Take them from the base.`,
            );
          const linear = name.endsWith(".weight") ? linearOf(name) : undefined;
          return linear && unmergeFrom(merged, linear, read);
        },
      }),
    },
  };
}

async function attachToData(target: MethodTarget, asked: LoraConfig, inputs: ObservedInputs): Promise<AttachedMethod> {
  const { config, given } = await findStart(asked, { modules: chooseModules(target, asked), inputs });
  return attach(target, config, given);
}

/** The layers that an adapter reaches, by module. @throws ConfigError if a target matches nothing or a rank is too large */
export function adaptedLinears(
  target: Pick<MethodTarget, "model" | "linears" | "quantised">,
  config: LoraConfig,
  given: ReadonlyMap<string, Float32Array> = new Map(),
): Map<string, AdaptedLinear> {
  const chosen = chooseModules(target, config);
  const parameters = new Set(selectByParameters(target.linears, config.targetParameters));
  const options = { config, given, quantised: target.quantised };
  const adapted = new Map<string, AdaptedLinear>();
  /** A of the first layer in a parameter, by expert. */
  const shared = new Map<string, AddedParameter>();
  for (const linear of target.linears) {
    if (!chosen.has(linear.module)) continue;
    const place = `${parameterOf(linear)} ${linear.bare?.expert?.index}`;
    const made = adaptLinear(linear, { ...options, ...(parameters.has(linear) && { ofParameter: { a: shared.get(place) } }) });
    shared.set(place, made.a);
    adapted.set(linear.module, made);
  }
  return adapted;
}

/** @throws ConfigError if the start needs what is not there */
function checkStart(
  { quantised }: MethodTarget,
  { config, given }: { config: LoraConfig; given: ReadonlyMap<string, Float32Array> },
): void {
  const { initLoraWeights: start, targetParameters } = config;
  const unfit = config.useDora
    ? "useDora"
    : ["default", "gaussian", "orthogonal"].includes(start)
      ? undefined
      : `initLoraWeights: ${start}`;
  if (targetParameters.length > 0 && unfit)
    throw new ConfigError(
      `method.targetParameters: [${targetParameters.join(", ")}] does not go with ${unfit}, which works on one weight at a time. Leave it out, or name experts in targetModules ("experts.0.w1", or a pattern).`,
    );
  if (start === "loftq" && !quantised)
    throw new ConfigError(
      "method.initLoraWeights: loftq starts from what a quantised base rounds away, and this base is not quantised. Add quantization: { format: nf4 }, or choose another start.",
    );
  if (start === "eva" && given.size === 0)
    throw new ConfigError("method.initLoraWeights: eva starts from training data, which are not there. Choose another start.");
}

interface ForwardOptions {
  readonly linear: AdaptedLinear;
  readonly config: LoraConfig;
  readonly build: SegmentBuilder;
}

function forward(call: LinearCall, { linear, config, build }: ForwardOptions): Value {
  const [a, b] = [build.parameter(linear.a), build.parameter(linear.b)];
  const input = build.dropout(call.input, config.loraDropout);
  const inner = build.graph.keep(matmul(input, a, { transposeB: true }));
  const update = matmul(inner, b, { transposeB: true, alpha: linear.scale });
  if (!linear.magnitude) return add(call.output, update);

  const factor = div(build.parameter(linear.magnitude), stopGradient(directionNorm(call, { linear, build }))); // [out]
  const bias = call.bias && build.parameter(call.bias);
  if (input === call.input) {
    const product = build.graph.keep(add(bias ? sub(call.output, bias) : call.output, update));
    return bias ? add(mul(product, factor), bias) : mul(product, factor);
  }
  // With dropout the base layer sees the whole input and its correction the dropped one, as in PEFT.
  const dropped = matmul(input, build.parameter(call.weight), { transposeB: linear.layout === "out-in" });
  return add(call.output, sub(mul(build.graph.keep(add(dropped, update)), factor), dropped));
}

/** |W + s B A| by rows, [out], without that matrix: |w|^2 + 2 s w A^T b + s^2 b A A^T b for every row w of W and b of B. */
function directionNorm({ weight }: LinearCall, { linear, build }: Omit<ForwardOptions, "config">): Value {
  const [W, a, b] = [build.parameter(weight), build.parameter(linear.a), build.parameter(linear.b)];
  const turned = linear.layout === "in-out";
  const squares = reduceSum(mul(W, W), [turned ? 0 : 1]);
  const across = matmul(W, a, { transposeA: turned, transposeB: true, alpha: 2 * linear.scale }); // [out, r]
  const within = matmul(b, matmul(a, a, { transposeB: true }), { alpha: linear.scale ** 2 }); // [out, r]
  return sqrt(add(squares, reduceSum(mul(add(across, within), b), [1])));
}

type Tensors = ReadonlyMap<string, ParameterData>;

const isAdapterParameter = (name: string): boolean => /\.lora_([AB]\.weight|magnitude_vector)$/.test(name);

/** @throws ConfigError if nothing is left to adapt */
function chooseModules({ model, linears }: Pick<MethodTarget, "model" | "linears">, config: LoraConfig): ReadonlySet<string> {
  const { targetModules, targetParameters, excludeModules, layersToTransform } = config;
  const names = linears.map(({ module }) => module);
  if (excludeModules.length > 0) selectModules(names, excludeModules, { field: "excludeModules" });
  const wrong = layersToTransform?.find((layer) => layer >= model.numHiddenLayers);
  if (wrong !== undefined)
    throw new ConfigError(`method.layersToTransform: ${wrong}; the model has blocks 0 to ${model.numHiddenLayers - 1}.`);
  const prefixes = layersToTransform?.map((layer) => model.blockPrefix(layer));
  const chosen = selectLinears(linears, targetModules).filter(
    (module) =>
      !excludeModules.some((excluded) => endsWithModule(module, excluded)) &&
      (!prefixes || prefixes.some((prefix) => module.startsWith(prefix))),
  );
  const ofParameters = selectByParameters(linears, targetParameters).map(({ module }) => module);
  if (targetModules.length === 0 && targetParameters.length === 0)
    throw new ConfigError('method.targetModules: the list is empty, so there is nothing to adapt. Name layers, or say "all-linear".');
  if (chosen.length + ofParameters.length === 0)
    throw new ConfigError("method: excludeModules and layersToTransform leave no layer of targetModules to adapt. Take one of them out.");
  return new Set([...chosen, ...ofParameters]);
}

function trainedBiases(
  { parameters }: MethodTarget,
  { config, adapted }: { config: LoraConfig; adapted: ReadonlyMap<string, AdaptedLinear> },
): ReadonlySet<string> {
  if (config.bias === "none") return new Set();
  const biases = parameters.filter(
    ({ name }) => name.endsWith(".bias") && (config.bias === "all" || adapted.has(name.slice(0, -".bias".length))),
  );
  if (biases.length === 0)
    throw new ConfigError(
      `method.bias: "${config.bias}", but the ${config.bias === "all" ? "model" : "adapted layers"} have no biases. Leave it at none.`,
    );
  return new Set(biases.map(({ name }) => name));
}

/** An adapter whose start was taken out of the base, as one for the original base: B A - B0 A0 = [B, -B0] [A; A0]. */
function asDifference(tensors: ReadonlyMap<string, ParameterData>, adapted: readonly AdaptedLinear[]): ReadonlyMap<string, ParameterData> {
  const packed = new Map(tensors);
  for (const { a, b, start, inFeatures, outFeatures } of adapted) {
    const [before, rank] = [start()!, a.shape[0]!];
    const [nameA, nameB] = [`base_model.model.${a.name}`, `base_model.model.${b.name}`];
    const joinedA = new Float32Array(2 * rank * inFeatures);
    joinedA.set(tensors.get(nameA)!.data);
    joinedA.set(before.a, rank * inFeatures);
    const joinedB = new Float32Array(2 * rank * outFeatures);
    for (let o = 0; o < outFeatures; o++) {
      for (let r = 0; r < rank; r++) {
        joinedB[2 * o * rank + r] = tensors.get(nameB)!.data[o * rank + r]!;
        joinedB[(2 * o + 1) * rank + r] = -before.b[o * rank + r]!;
      }
    }
    packed.set(nameA, { shape: [2 * rank, inFeatures], data: joinedA });
    packed.set(nameB, { shape: [outFeatures, 2 * rank], data: joinedB });
  }
  return packed;
}

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
