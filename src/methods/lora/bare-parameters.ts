/**
 * Weights that transformers 5 holds in parameters instead of linear layers: the experts of a mixture and its router. PEFT 0.21 adapts such
 * a parameter as one (`target_parameters`): A [experts * rank, in], expert after expert; B [parts * out, rank * experts], all experts of a rank
 * side by side. So gate and up share A, as they do here where `targetParameters` chose them. Layers that were adapted one by one are written
 * as a parameter, too: their A above each other and their B along the diagonal, with zeros where an expert is not adapted.
 */
import { CheckpointError } from "../../base/errors.ts";
import { endsWithModule } from "../../base/module-names.ts";
import type { LinearModule } from "../../models/segments.ts";
import { parameterOf } from "../match-modules.ts";
import type { ParameterData } from "../method.ts";
import type { AdaptedLinear } from "./adapted-linear.ts";
import type { LoraConfig } from "./config.ts";

export interface BareParameter {
  /** PEFT's path, for example `model.layers.3.mlp.experts.gate_up_proj`. */
  readonly name: string;
  /** Its factors in a file stand under this name. */
  readonly module: string;
  /** The adapted layers whose weights it holds. */
  readonly layers: readonly AdaptedLinear[];
  /** Of one expert. */
  readonly rank: number;
  readonly scale: number;
}

export interface BareOptions {
  readonly linears: readonly LinearModule[];
  readonly config: LoraConfig;
  /** Ranks in the file for one of ours. */
  readonly times: number;
}

/** The adapted layers that PEFT can only reach as parameters. With DoRA there are none: PEFT cannot, and layers keep their names. */
export function bareParameters(adapted: readonly AdaptedLinear[], { linears, config, times }: BareOptions): BareParameter[] {
  if (config.useDora) return [];
  // PEFT takes layers of these names for experts and routers, wherever they stand.
  const namesOfBare = new Set(linears.flatMap(({ bare, module }) => (bare ? [lastPart(module)] : [])));
  const isBare = (linear: AdaptedLinear): boolean =>
    namesOfBare.has(lastPart(linear.module)) || config.targetParameters.some((target) => endsWithModule(parameterOf(linear), target));
  const bare = adapted.filter(isBare);
  const names = [...new Set(bare.map(parameterOf))];
  return names.map((name) => {
    const layers = bare.filter((linear) => parameterOf(linear) === name);
    const [rank, scale] = [times * largestRank(layers), Math.max(...layers.map((layer) => layer.scale))];
    return { name, module: moduleInFile(name, names), layers, rank, scale };
  });
}

const lastPart = (name: string): string => name.slice(name.lastIndexOf(".") + 1);
const expertOf = ({ bare }: LinearModule): number => bare?.expert?.index ?? 0;

/** Of the experts: the sum of the ranks of an expert's factors. */
function largestRank(layers: readonly AdaptedLinear[]): number {
  const ranks = new Map<number, number>();
  const counted = new Set<string>();
  for (const layer of layers) {
    if (counted.has(layer.a.name)) continue;
    counted.add(layer.a.name);
    ranks.set(expertOf(layer), (ranks.get(expertOf(layer)) ?? 0) + layer.a.shape[0]!);
  }
  return Math.max(...ranks.values());
}

/** PEFT wraps a module once for each of its parameters; the last one is outermost. @param names of all parameters that are adapted, in order */
export function moduleInFile(name: string, names: readonly string[]): string {
  const parent = name.slice(0, name.lastIndexOf("."));
  const siblings = names.filter((other) => other.slice(0, other.lastIndexOf(".")) === parent);
  return parent + ".base_layer".repeat(siblings.length - 1 - siblings.indexOf(name));
}

type Tensors = ReadonlyMap<string, ParameterData>;
const inFile = (name: string): string => `base_model.model.${name}`;

/** Factors of layers as factors of parameters, by their names in a file. */
export function joinBare(tensors: Tensors, parameters: readonly BareParameter[]): Tensors {
  const joined = new Map(tensors);
  for (const { module, layers, rank, scale } of parameters) {
    const { inFeatures, outFeatures, experts, parts } = sizesOf(layers[0]!);
    const a = new Float32Array(experts * rank * inFeatures);
    const b = new Float32Array(parts * outFeatures * rank * experts);
    const starts = new Map<string, number>();
    const used = new Array<number>(experts).fill(0);
    for (const layer of layers) {
      const [expert, part] = [expertOf(layer), layer.bare?.expert?.part ?? 0];
      const [own, { data: ownB }] = [tensors.get(inFile(layer.a.name))!, tensors.get(inFile(layer.b.name))!];
      const ownRank = own.shape[0]!;
      if (!starts.has(layer.a.name)) {
        a.set(own.data, (expert * rank + used[expert]!) * inFeatures);
        starts.set(layer.a.name, used[expert]!);
        used[expert]! += ownRank;
      }
      const start = starts.get(layer.a.name)!;
      for (let o = 0; o < outFeatures; o++) {
        for (let r = 0; r < ownRank; r++)
          b[((part * outFeatures + o) * rank + start + r) * experts + expert] = ownB[o * ownRank + r]! * (layer.scale / scale);
      }
    }
    for (const { a: factor, b: other } of layers) for (const { name } of [factor, other]) joined.delete(inFile(name));
    joined.set(inFile(`${module}.lora_A.weight`), { shape: [experts * rank, inFeatures], data: a });
    joined.set(inFile(`${module}.lora_B.weight`), { shape: [parts * outFeatures, rank * experts], data: b });
  }
  return joined;
}

/** Factors of parameters as factors of layers that share A; a file that names layers stays as it is.
 * @throws CheckpointError if the factors have other sizes than this base's */
export function splitBare(tensors: Tensors, parameters: readonly BareParameter[]): Tensors {
  const split = new Map(tensors);
  for (const { module, layers, rank } of parameters) {
    const names = { a: inFile(`${module}.lora_A.weight`), b: inFile(`${module}.lora_B.weight`) };
    const [a, b] = [tensors.get(names.a), tensors.get(names.b)];
    if (!a || !b || layers.some((layer) => layer.a.shape[0] !== rank)) continue;
    const { inFeatures, outFeatures, experts, parts } = sizesOf(layers[0]!);
    checkShape(names.a, a, [experts * rank, inFeatures]);
    checkShape(names.b, b, [parts * outFeatures, rank * experts]);
    for (const name of Object.values(names)) split.delete(name);
    for (const layer of layers) {
      const [expert, part] = [expertOf(layer), layer.bare?.expert?.part ?? 0];
      const own = factorsOfExpert({ a: a.data, b: b.data }, { expert, experts, rank, inFeatures, outFeatures, part });
      split.set(inFile(layer.a.name), { shape: layer.a.shape, data: own.a });
      split.set(inFile(layer.b.name), { shape: layer.b.shape, data: own.b });
    }
  }
  return split;
}

export interface ExpertPlace {
  readonly expert: number;
  readonly experts: number;
  readonly rank: number;
  readonly inFeatures: number;
  readonly outFeatures: number;
  /** Of the layers that stand above each other in B. */
  readonly part: number;
}

interface Factors {
  readonly a: Float32Array;
  readonly b: Float32Array;
}

/** A [rank, in], in the parameter's own memory, and B [out, rank] of one expert, out of the factors of a parameter. */
export function factorsOfExpert({ a, b }: Factors, { expert, experts, rank, inFeatures, outFeatures, part }: ExpertPlace): Factors {
  return {
    a: a.subarray(expert * rank * inFeatures, (expert + 1) * rank * inFeatures),
    b: Float32Array.from({ length: outFeatures * rank }, (_, i) => b[(part * outFeatures * rank + i) * experts + expert]!),
  };
}

function sizesOf({ inFeatures, outFeatures, bare }: AdaptedLinear) {
  return { inFeatures, outFeatures, experts: bare?.expert?.count ?? 1, parts: bare?.expert?.parts ?? 1 };
}

function checkShape(name: string, { shape }: ParameterData, expected: readonly number[]): void {
  if (shape.join() === expected.join()) return;
  throw new CheckpointError(
    `the adapter does not fit this base model: ${name} is [${shape.join(", ")}], this base needs [${expected.join(", ")}]. Use the base that adapter_config.json names.`,
  );
}

/** Names for `target_parameters`: the end of a path where all blocks that have such a parameter are adapted, else whole paths. */
export function namesForPeft(parameters: readonly BareParameter[], linears: readonly LinearModule[]): string[] {
  const all = [...new Set(linears.map(parameterOf))];
  const names = parameters.map(({ name }) => name);
  return [
    ...new Set(
      names.map((name) => (all.every((other) => inBlock(other) !== inBlock(name) || names.includes(other)) ? inBlock(name) : name)),
    ),
  ];
}

/** Pattern -> value for the parameters for which PEFT would find another one. */
export function patternsForPeft(
  parameters: readonly BareParameter[],
  wanted: (parameter: BareParameter) => number,
  found: (name: string) => number,
): Record<string, number> {
  const values = new Map(parameters.map((parameter) => [parameter.name, wanted(parameter)]));
  const isShort = (name: string): boolean =>
    [...values].every(([other, value]) => inBlock(other) !== inBlock(name) || value === values.get(name));
  const differing = [...values].filter(([name, value]) => found(name) !== value);
  return Object.fromEntries(differing.map(([name, value]) => [isShort(name) ? inBlock(name) : name, value]));
}

/** `mlp.experts.down_proj` of `model.layers.3.mlp.experts.down_proj`. */
const inBlock = (name: string): string => name.replace(/^.*?\.\d+\./, "");
