/** Every task. */
import { lookUp } from "../base/registry.ts";
import type { Model } from "../models/model.ts";
import { causalLmTask } from "./causal-lm.ts";
import { maskedLm } from "./masked-lm.ts";
import { multipleChoice } from "./multiple-choice.ts";
import { questionAnswering } from "./question-answering.ts";
import { sentenceEmbeddings } from "./sentence-embeddings.ts";
import { seq2seqLm } from "./seq2seq-lm.ts";
import { sequenceClassification } from "./sequence-classification.ts";
import type { Task } from "./task.ts";
import { tokenClassification } from "./token-classification.ts";

export const tasks = [
  causalLmTask,
  maskedLm,
  seq2seqLm,
  sequenceClassification,
  tokenClassification,
  questionAnswering,
  multipleChoice,
  sentenceEmbeddings,
] as const;

/** The named task, or what the model does by nature. @throws UnsupportedError naming the nearest */
export function chooseTask(name: string | undefined, model: Model): Task {
  if (name !== undefined) return lookUp<Task>("task", tasks, name);
  return (tasks as readonly Task[]).find((task) => task.isNatural(model))!;
}
