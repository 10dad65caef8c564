/** A method as a task needs it: a head that is new for the task is trained whole beside whatever the method trains, and saved with it as PEFT does (`modules_to_save`). */
import { belongsToTask } from "../models/label-heads.ts";
import type { Model } from "../models/model.ts";
import type { AdapterFormat, AttachedMethod } from "./method.ts";

export interface TaskOfMethod {
  /** With the head on it that the task has. */
  readonly model: Model;
  /** `task_type` in adapter_config.json. */
  readonly peftTaskType: string;
}

export function forTask(method: AttachedMethod, { model, peftTaskType }: TaskOfMethod): AttachedMethod {
  const isHead = (parameter: string): boolean => belongsToTask(model, parameter);
  return {
    ...method,
    trains: (parameter) => isHead(parameter) || method.trains(parameter),
    ...(method.adapter && {
      adapter: withHead(method.adapter, { model, peftTaskType, isHead, isPromptLearning: method.virtualTokens !== undefined }),
    }),
  };
}

interface WithHead extends TaskOfMethod {
  isHead(parameter: string): boolean;
  /** PEFT wraps the model once less for methods that only add virtual tokens. */
  readonly isPromptLearning: boolean;
}

function withHead(adapter: AdapterFormat, { model, peftTaskType, isHead, isPromptLearning }: WithHead): AdapterFormat {
  const { newModules: modules, labelHead, wordHead } = model;
  const outer = isPromptLearning ? "base_model" : "base_model.model";
  const heads = <Value>(tensors: ReadonlyMap<string, Value>): [string, Value][] =>
    [...tensors].filter(([name]) => modules?.some((module) => name.startsWith(`${outer}.${module}.`)));
  const { merge, pack, unpack } = adapter;
  const shared = modules && !labelHead && new Map(Object.entries(wordHead!.shared).map(([name, of]) => [`${outer}.${name}`, of]));
  return {
    ...adapter,
    config: (baseModel) => ({
      ...adapter.config(baseModel),
      task_type: peftTaskType,
      ...(modules && {
        modules_to_save: [...new Set([...modules, ...((adapter.config(baseModel).modules_to_save ?? []) as string[])])],
      }),
    }),
    ...(shared && { shared }),
    fileName: (parameter) => (isHead(parameter) ? `${outer}.${parameter}` : adapter.fileName(parameter)),
    ...(pack && { pack: (tensors) => new Map([...pack(tensors), ...heads(tensors)]) }),
    ...(unpack && { unpack: (tensors, config) => new Map([...unpack(tensors, config), ...heads(tensors)]) }),
    ...(merge && { merge: (parameter, base, read) => (isHead(parameter) ? read(parameter) : merge(parameter, base, read)) }),
  };
}
