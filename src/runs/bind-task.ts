/** The task of a run, bound to its model and its training rows. */
import type { Folder } from "../base/byte-source.ts";
import { ConfigError } from "../base/errors.ts";
import type { SourceRow } from "../data/dataset.ts";
import { createModel } from "../models/families/registry.ts";
import { readJson } from "../models/weights/checkpoint.ts";
import { chooseTask, chooseTextMetrics } from "../tasks/registry.ts";
import type { BoundTask } from "../tasks/task.ts";
import type { RunConfig } from "./config.ts";

/** Beside an adapter: what its task was bound to, so that it can be bound again. */
export const taskFile = "task.json";

/** @throws ConfigError if what else the run asks for does not go with the task */
export async function bindTask(
  config: Pick<RunConfig, "task" | "objective" | "samples" | "data" | "evaluation">,
  { folder, rows }: { folder: Folder; rows: readonly SourceRow[] },
): Promise<BoundTask> {
  const checkpointConfig = await readJson(folder, "config.json");
  const model = createModel(checkpointConfig);
  const task = chooseTask(config.task?.name, model);
  const bound = task.bind({
    ...{ model, checkpointConfig },
    config: config.task ?? task.configSchema.parse({ name: task.name }),
    training: { rows, format: config.data.format },
  });
  if (bound.head && config.objective.name !== "causal-lm")
    throw new ConfigError(
      `objective.name: ${config.objective.name} is for language models; the task ${bound.name} brings its own loss. Leave objective out.`,
    );
  if (bound.head && config.samples.length > 0)
    throw new ConfigError(`samples: a model for ${bound.name} writes no answers. Leave samples out.`);
  if (config.evaluation) chooseTextMetrics(config.evaluation.metrics, bound);
  return bound;
}

/** What the task was bound to, for a finished model without its rows. */
export function bindAgain(resolved: Readonly<Record<string, unknown>>, checkpointConfig: Readonly<Record<string, unknown>>): BoundTask {
  const model = createModel(checkpointConfig);
  const task = chooseTask(typeof resolved.name === "string" ? resolved.name : undefined, model);
  return task.bind({ model, checkpointConfig, config: task.configSchema.parse({ ...resolved, name: task.name }) });
}
