/** Puts a head for labels on a model, and says which of its parameters a base checkpoint does not have yet. */
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
  return { ...body, labelHead: { ...head, ...(pools && { pools }), name, numLabels } };
}

/** Parameters of the label head that a checkpoint of the bare model may lack. */
export function headParameters(model: Model): ParameterSpec[] {
  if (!model.labelHead) return [];
  const { labelHead, ...bare } = model;
  const known = new Set(describeModel(bare).parameters.map(({ name }) => name));
  return describeModel(model).parameters.filter(({ name }) => !known.has(name));
}

/** True for the parameters that are new for every task (`LabelHead.modules`). */
export const belongsToTask = (model: Model, parameter: string): boolean =>
  model.labelHead?.modules.some((module) => parameter.startsWith(`${module}.`)) ?? false;

/** The model with everything that begins at random among what is new for the task: a pooler that the checkpoint lacks is trained and saved whole, too. */
export function withNewModules(model: Model, fresh: readonly ParameterSpec[]): Model {
  // What lies inside a module of the head is saved with it: PEFT cannot load a module that is named beside the one around it.
  const others = fresh.filter(({ name }) => !belongsToTask(model, name));
  if (!model.labelHead || others.length === 0) return model;
  const modules = new Set([...model.labelHead.modules, ...others.map(({ name }) => name.slice(0, name.lastIndexOf(".")))]);
  return { ...model, labelHead: { ...model.labelHead, modules: [...modules] } };
}

/** True for modules that are trained whole, so that methods leave them alone. */
export const isNew = (model: Model, module: string): boolean => model.labelHead?.modules.includes(module) ?? false;

/** As transformers starts a layer: weights normal, norms one, biases zero. @param deviation `initializer_range` of config.json */
export function initialiseHead({ shape, kind, name }: ParameterSpec, random: Random, deviation: number): Float32Array {
  const size = shape.reduce((product, n) => product * n, 1);
  if (kind === "norm") return new Float32Array(size).fill(1);
  if (kind === "bias" || name.endsWith(".bias")) return new Float32Array(size);
  return Float32Array.from({ length: size }, () => deviation * random.normal());
}
