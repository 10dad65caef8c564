/** One linear layer under LoRA: its parameters, their start, and the weight with the update folded in. */
import { ConfigError } from "../../base/errors.ts";
import type { Random } from "../../base/random.ts";
import type { LinearModule } from "../../models/segments.ts";
import { parameterOf } from "../match-modules.ts";
import type { AddedParameter, BaseWeights, MethodTarget, ParameterData } from "../method.ts";
import { alphaOf, type LoraConfig, rankOf } from "./config.ts";
import { asOutIn, changesBase, type Factors, type Start, startFactors } from "./initialisation.ts";

export interface AdaptedLinear extends LinearModule {
  /** [rank, in]; one for all parts of an expert's parameter where the method adapts the parameter. */
  readonly a: AddedParameter;
  /** [out, rank]. */
  readonly b: AddedParameter;
  /** [out]: lengths of the weight's rows; only with DoRA. */
  readonly magnitude: AddedParameter | undefined;
  readonly scale: number;
  /** A and B as they began, where that took something out of the base; undefined before they were made. */
  start(): Start | undefined;
  /** The base weight without what was taken out of it; absent where nothing is. */
  readonly residual?: (base: BaseWeights, random: Random) => Promise<Float32Array>;
}

export interface AdaptOptions {
  readonly config: LoraConfig;
  /** A by module, where the method found it in data. */
  readonly given: ReadonlyMap<string, Float32Array>;
  readonly quantised: MethodTarget["quantised"];
  /** Where the parameter that holds the weight is adapted, which counts for ranks, alphas and sizes: A of its first part, absent for that part. */
  readonly ofParameter?: { readonly a: AddedParameter | undefined };
}

/** @throws ConfigError if the rank is above the size of the weight */
export function adaptLinear(linear: LinearModule, { config, given, quantised, ofParameter }: AdaptOptions): AdaptedLinear {
  const { module, inFeatures, outFeatures } = linear;
  const adapted = ofParameter ? parameterOf(linear) : module;
  const rank = rankOf(config, adapted);
  // Parts that were adapted apart lie in one parameter with the sum of their ranks.
  const most = Math.min(inFeatures, outFeatures) * (ofParameter ? (linear.bare?.expert?.parts ?? 1) : 1);
  if (rank > most) {
    const field = rank === config.rank ? "rank" : "rankPattern";
    throw new ConfigError(
      `method.${field}: ${rank} is above the size of ${module} [${outFeatures}, ${inFeatures}]; choose at most ${most}.`,
    );
  }
  const scale = alphaOf(config, adapted) / (config.useRslora ? Math.sqrt(rank) : rank);
  let factors: Start | undefined;
  const begin = async (random: Random, base: BaseWeights): Promise<Start> => {
    const weight = async (): Promise<Float64Array> => asOutIn((await base(`${module}.weight`)).data, linear);
    const { initLoraWeights: name, loftqIter } = config;
    factors ??= await startFactors({ name, loftqIter, linear, rank, scale, random, weight, quantised, given: given.get(module) });
    return factors;
  };
  /** With the last parameter, what they were made of is let go: it is as large as the adapter. Only where the base lost it, an export takes it off again. */
  const finish = (values: Float32Array): Float32Array => {
    if (!changesBase(config)) factors = undefined;
    return values;
  };
  const parameter = (name: string, shape: number[], initialise: AddedParameter["initialise"]): AddedParameter => ({
    ...{ name: `${module}.${name}`, shape, kind: "adapter", initialise },
  });
  return {
    ...linear,
    scale,
    a: ofParameter?.a ?? parameter("lora_A.weight", [rank, inFeatures], async (random, base) => (await begin(random, base)).a),
    b: parameter("lora_B.weight", [outFeatures, rank], async (random, base) => {
      const { b } = await begin(random, base);
      return config.useDora ? b : finish(b);
    }),
    magnitude: config.useDora
      ? parameter("lora_magnitude_vector", [outFeatures], async (random, base, held) => {
          const [{ a, b }, { data }] = [await begin(random, base), await held(`${module}.weight`)];
          return finish(rowNorms(asOutIn(addProduct(data, { linear, a, b, scale }), linear), inFeatures));
        })
      : undefined,
    start: () => factors,
    ...(changesBase(config) && {
      residual: async (base, random) => {
        const [{ taken }, { data }] = [await begin(random, base), await base(`${module}.weight`)];
        return addProduct(data, { linear, ...taken!, scale: -scale });
      },
    }),
  };
}

/** The base weight with the adapter folded in, in the layout of the weight; in float64, rounded once. */
export function mergeInto(base: ParameterData, linear: AdaptedLinear, read: (name: string) => ParameterData): ParameterData {
  const { scale, inFeatures, layout } = linear;
  const sum = addProduct(base.data, { linear, a: read(linear.a.name).data, b: read(linear.b.name).data, scale });
  if (!linear.magnitude) return { shape: base.shape, data: sum };
  const lengths = read(linear.magnitude.name).data;
  const norms = rowNorms(asOutIn(sum, linear), inFeatures);
  const columns = base.shape[1]!;
  const outputOf = (i: number): number => (layout === "out-in" ? Math.floor(i / columns) : i % columns);
  return { shape: base.shape, data: sum.map((value, i) => (value * lengths[outputOf(i)]!) / norms[outputOf(i)]!) };
}

/** The base weight out of a merged one; not for DoRA. */
export function unmergeFrom(merged: ParameterData, linear: AdaptedLinear, read: (name: string) => ParameterData): ParameterData {
  const [a, b] = [read(linear.a.name).data, read(linear.b.name).data];
  return { shape: merged.shape, data: addProduct(merged.data, { linear, a, b, scale: -linear.scale }) };
}

/** weight + scale B A, in the layout of the weight. */
function addProduct(
  weight: Float32Array,
  { linear, a, b, scale }: Factors & { readonly linear: LinearModule; readonly scale: number },
): Float32Array {
  const { inFeatures, outFeatures, layout } = linear;
  const rank = a.length / inFeatures;
  const merged = new Float32Array(weight.length);
  const row = new Float64Array(inFeatures);
  for (let o = 0; o < outFeatures; o++) {
    row.fill(0);
    for (let r = 0; r < rank; r++) {
      const factor = scale * b[o * rank + r]!;
      for (let i = 0; i < inFeatures; i++) row[i]! += factor * a[r * inFeatures + i]!;
    }
    for (let i = 0; i < inFeatures; i++) {
      const at = layout === "out-in" ? o * inFeatures + i : i * outFeatures + o;
      merged[at] = weight[at]! + row[i]!;
    }
  }
  return merged;
}

function rowNorms(matrix: Float64Array, columns: number): Float32Array {
  const norms = new Float32Array(matrix.length / columns);
  for (let o = 0; o < norms.length; o++) {
    let sum = 0;
    for (let i = 0; i < columns; i++) sum += matrix[o * columns + i]! ** 2;
    norms[o] = Math.sqrt(sum);
  }
  return norms;
}
