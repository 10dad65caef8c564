/** Puts a head for labels on a model, and says which parameters of a head a base checkpoint does not have yet. */
import { ConfigError, UnsupportedError } from "../base/errors.ts";
import type { Random } from "../base/random.ts";
import type { LabelHead, LabelHeadName, Model } from "./model.ts";
import type { ParameterSpec } from "./segment-builder.ts";
import { describeModel } from "./segments.ts";

export interface HeadChoice {
  readonly name: LabelHeadName;
  /** 1 or more. */
  readonly numLabels: number;
  /** Instead of how the family pools for this head. */
  readonly pools?: LabelHead["pools"];
}

/** @throws UnsupportedError if the family has no such head, listing those it has */
export function withLabelHead(model: Model, { name, numLabels, pools }: HeadChoice): Model {
  const head = model.labelHeads?.[name];
  if (!head) {
    const known = Object.keys(model.labelHeads ?? {});
    throw new UnsupportedError(
      `${model.modelType} has no head for ${name}; it has ${known.length > 0 ? known.join(", ") : "only the vocabulary"}. Choose another task, or a model of another family.`,
    );
  }
  if (!Number.isInteger(numLabels) || numLabels < 1) throw new ConfigError(`${name}: ${numLabels} labels; expected 1 or more.`);
  const { modelType, vocabSize, tieWordEmbeddings, labelHeads } = model;
  const body = head.body ? { modelType, vocabSize, tieWordEmbeddings, labelHeads: labelHeads!, ...head.body } : model;
  return { ...body, labelHead: { ...head, ...(pools && { pools }), name, numLabels }, newModules: head.modules };
}

/** Parameters of the head that a checkpoint of the bare model may lack. */
export function headParameters(model: Model): ParameterSpec[] {
  if (!model.labelHead) return describeModel(model).parameters.filter(({ name }) => isWithin(model.wordHead?.modules, name));
  const { labelHead, ...bare } = model;
  const known = new Set(describeModel(bare).parameters.map(({ name }) => name));
  return describeModel(model).parameters.filter(({ name }) => !known.has(name));
}

/**
 * What begins at random, as in transformers: of a head for labels what the checkpoint lacks, a head for words where it lacks all of it.
 * One that it holds in part is damaged.
 */
export function missingParameters(model: Model, isHeld: (parameter: string) => boolean): ParameterSpec[] {
  const head = headParameters(model);
  const missing = head.filter(({ name }) => !isHeld(name));
  return model.labelHead || missing.length === head.length ? missing : [];
}

const isWithin = (modules: readonly string[] | undefined, name: string): boolean =>
  modules?.some((module) => name === module || name.startsWith(`${module}.`)) ?? false;

/** True for the parameters that are new for the task (`Model.newModules`). */
export const belongsToTask = ({ newModules }: Model, parameter: string): boolean => isWithin(newModules, parameter);

/** The model with everything that begins at random among what is new for the task: a pooler that the checkpoint lacks is trained and saved whole, too. */
export function withNewModules(model: Model, fresh: readonly ParameterSpec[]): Model {
  if (!model.labelHead) return fresh.length === 0 ? model : { ...model, newModules: model.wordHead!.modules };
  // What lies inside a module of the head is saved with it: PEFT cannot load a module that is named beside the one around it.
  const others = fresh.filter(({ name }) => !belongsToTask(model, name));
  const modules = new Set([...model.newModules!, ...others.map(({ name }) => name.slice(0, name.lastIndexOf(".")))]);
  return { ...model, newModules: [...modules] };
}

/** True for modules that are trained whole, so that methods leave them alone. */
export const isNew = ({ newModules }: Model, module: string): boolean => isWithin(newModules, module);

/** As transformers starts a layer: weights normal, norms one, biases zero. @param deviation `initializer_range` of config.json */
export function initialiseHead({ shape, kind, name }: ParameterSpec, random: Random, deviation: number): Float32Array {
  const size = shape.reduce((product, n) => product * n, 1);
  if (kind === "norm") return new Float32Array(size).fill(1);
  if (kind === "bias" || name.endsWith(".bias")) return new Float32Array(size);
  return Float32Array.from({ length: size }, () => deviation * random.normal());
}
