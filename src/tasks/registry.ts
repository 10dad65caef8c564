/** Every task. */
import { lookUp } from "../base/registry.ts";
import type { Model } from "../models/model.ts";
import { causalLmTask } from "./causal-lm.ts";
import { sequenceClassification } from "./sequence-classification.ts";
import type { Task } from "./task.ts";

export const tasks = [causalLmTask, sequenceClassification] as const;

/** The named task, or what the model does by nature. @throws UnsupportedError naming the nearest */
export function chooseTask(name: string | undefined, model: Model): Task {
  if (name !== undefined) return lookUp<Task>("task", tasks, name);
  return (tasks as readonly Task[]).find((task) => task.isNatural(model))!;
}
