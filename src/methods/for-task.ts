/** A method as a task needs it: the task's own head is trained whole beside whatever the method trains, and saved with it as PEFT does (`modules_to_save`). */
import { belongsToTask } from "../models/label-heads.ts";
import type { Model } from "../models/model.ts";
import type { AdapterFormat, AttachedMethod } from "./method.ts";

export interface TaskOfMethod {
  /** With the label head on it, where the task has one. */
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
  const modules = model.labelHead?.modules;
  const outer = isPromptLearning ? "base_model" : "base_model.model";
  const heads = <Value>(tensors: ReadonlyMap<string, Value>): [string, Value][] =>
    [...tensors].filter(([name]) => modules?.some((module) => name.startsWith(`${outer}.${module}.`)));
  const { merge, pack, unpack } = adapter;
  return {
    ...adapter,
    config: (baseModel) => ({
      ...adapter.config(baseModel),
      task_type: peftTaskType,
      ...(modules && { modules_to_save: [...modules, ...((adapter.config(baseModel).modules_to_save ?? []) as string[])] }),
    }),
    fileName: (parameter) => (isHead(parameter) ? `${outer}.${parameter}` : adapter.fileName(parameter)),
    ...(pack && { pack: (tensors) => new Map([...pack(tensors), ...heads(tensors)]) }),
    ...(unpack && { unpack: (tensors, config) => new Map([...unpack(tensors, config), ...heads(tensors)]) }),
    ...(merge && { merge: (parameter, base, read) => (isHead(parameter) ? read(parameter) : merge(parameter, base, read)) }),
  };
}
