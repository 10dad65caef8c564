/** Every task. */
import { ConfigError } from "../base/errors.ts";
import { nearestName } from "../base/nearest-name.ts";
import { lookUp } from "../base/registry.ts";
import type { Model } from "../models/model.ts";
import { causalLmTask } from "./causal-lm.ts";
import { maskedLm } from "./masked-lm.ts";
import { multipleChoice } from "./multiple-choice.ts";
import { questionAnswering } from "./question-answering.ts";
import { sentenceEmbeddings } from "./sentence-embeddings.ts";
import { seq2seqLm } from "./seq2seq-lm.ts";
import { sequenceClassification } from "./sequence-classification.ts";
import { spanCorruption } from "./span-corruption.ts";
import type { BoundTask, Task } from "./task.ts";
import { tokenClassification } from "./token-classification.ts";

export const tasks = [
  causalLmTask,
  maskedLm,
  spanCorruption,
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

/** Metrics of written texts, of those that the task offers. @throws ConfigError for others, naming the nearest */
export function chooseTextMetrics(asked: "all" | readonly string[], { name }: Pick<BoundTask, "name">): readonly string[] {
  const offered = lookUp<Task>("task", tasks, name).textMetrics ?? [];
  const unknown = asked === "all" ? [] : asked.filter((metric) => !offered.includes(metric));
  if (offered.length === 0 && asked.length > 0)
    throw new ConfigError(
      `evaluation.metrics: the task ${name} writes no texts that could be compared; its own metrics are always computed. Leave evaluation.metrics out.`,
    );
  if (unknown.length > 0)
    throw new ConfigError(
      unknown.map((metric) => {
        const nearest = nearestName(metric, offered);
        return `evaluation.metrics: "${metric}" is not a metric of the task ${name}.${nearest ? ` Did you mean "${nearest}"?` : ""} Known: all, ${offered.join(", ")}.`;
      }),
    );
  return asked === "all" ? offered : asked;
}
