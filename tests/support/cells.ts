/**
 * One cell of the support matrix: a small random model of a family is trained for a few steps with a method on rows of a task,
 * through what a run goes through: the checkpoint on disk, the task bound to its rows, examples, batches, the engine.
 */
import { mkdtempSync, readdirSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Backend } from "../../src/backends/backend.ts";
import { ConfigError, UnsupportedError } from "../../src/base/errors.ts";
import { makeBatches } from "../../src/data/batches.ts";
import { openModel } from "../../src/execution/loaded-model.ts";
import { createOptimizer } from "../../src/execution/optimizer/create-optimizer.ts";
import { SegmentedTrainingEngine } from "../../src/execution/training-engine.ts";
import type { Method } from "../../src/methods/method.ts";
import { createModel } from "../../src/models/families/registry.ts";
import { causalLm } from "../../src/objectives/causal-lm.ts";
import { adamw } from "../../src/optimizers/adamw.ts";
import { openFolder } from "../../src/platform/node/files.ts";
import type { BoundTask, Task } from "../../src/tasks/task.ts";
import { writeSmallCheckpoint } from "../cli/small-checkpoint.ts";
import { reference } from "../conformance/tiny-model.ts";
import { rowsOf } from "./small-tasks.ts";

/** What a method needs beside its name here. */
const needed: Readonly<Record<string, object>> = {
  freeze: { trainable: ["*.1.*"] },
  "new-tokens": { tokens: ["red", "green"] },
  bottleneck: { reductionFactor: 4 },
};

/** What a task needs beside its name, for texts of a few words. */
const settings: Readonly<Record<string, object>> = { "question-answering": { docStride: 8 } };

/** The config.json of a family's tiny model among the fixtures. @throws Error if there is none */
export function tinyConfig(family: string): Record<string, unknown> {
  for (const kind of ["families", "encoders", "encoder-decoders"]) {
    if (readdirSync(join(reference, kind)).includes(family))
      return JSON.parse(readFileSync(join(reference, kind, family, "config.json"), "utf8")) as Record<string, unknown>;
  }
  throw new Error(`no fixture of the family ${family}: every family has one of its own name (tools/reference).`);
}

/** A family with a checkpoint on disk. */
export interface SmallFamily {
  readonly folder: string;
  readonly config: Readonly<Record<string, unknown>>;
}

export async function openFamily(family: string): Promise<SmallFamily> {
  const folder = join(mkdtempSync(join(tmpdir(), "tunesmith-support-")), family);
  await writeSmallCheckpoint(folder, tinyConfig(family));
  return { folder, config: JSON.parse(readFileSync(join(folder, "config.json"), "utf8")) as Record<string, unknown> };
}

/** @returns undefined where the family does not have the task */
export function bindTask({ config }: SmallFamily, task: Task): BoundTask | undefined {
  try {
    return task.bind({
      ...{
        model: createModel(config),
        checkpointConfig: config,
        config: task.configSchema.parse({ name: task.name, ...settings[task.name] }),
      },
      training: { rows: sourceRows(task), format: "auto" },
    });
  } catch (error) {
    if (error instanceof UnsupportedError) return undefined;
    throw error;
  }
}

const sourceRows = ({ name }: Pick<Task, "name">) =>
  rowsOf[name]!.map((row, i) => ({ row: row as Record<string, unknown>, at: `row ${i + 1}` }));

export interface Cell {
  readonly family: SmallFamily;
  readonly task: BoundTask;
  readonly method: Method;
  readonly backend: Backend;
}

/** Losses on the training rows before and after a few steps; "unfit" if the method finds nothing to train in this model. */
export async function runCell({ family, task, method, backend }: Cell): Promise<{ before: number; after: number } | "unfit"> {
  const config = method.configSchema.parse({ name: method.name, ...needed[method.name] });
  const { head, peftTaskType } = task;
  const opened = { ...(head && { head }), peftTaskType };
  let loaded: Awaited<ReturnType<typeof openModel>>;
  try {
    loaded = await openModel({ folder: openFolder(family.folder), backend, method: { method, config }, task: opened });
  } catch (error) {
    if (error instanceof ConfigError || error instanceof UnsupportedError) return "unfit";
    throw error;
  }
  const { model, store, tokenizer } = loaded;
  const options = { tokenizer, model, format: "auto", lossOn: "all", maxLength: 32, overlong: "truncate" } as const;
  const { examples } = task.prepare(sourceRows(task), options);
  const seen = task.forEpoch?.(examples, { seed: 1, epoch: 1 }) ?? examples;
  const [batch] = makeBatches({
    ...{ examples: seen, batchSize: seen.length, maxLength: 32, packing: false, lengthBucketing: false, collator: task.collator },
  });
  const engine = new SegmentedTrainingEngine({
    ...{ backend, model, method: loaded.method, regularisers: [], store, activationCheckpointing: "none" },
    objective: task.objective ?? causalLm,
    objectiveConfig: task.objective ? { name: task.objective.name } : { name: "causal-lm", labelSmoothing: 0 },
    optimizer: await createOptimizer({
      ...{ backend, optimizer: adamw, store },
      config: adamw.configSchema.parse({ name: "adamw" }),
    }),
  });
  const before = await engine.evaluate(batch!);
  for (let step = 1; step <= 4; step++) {
    await engine.accumulate(batch!, { gradientScale: 1 / before.tokens, seed: step });
    await engine.update({ learningRate: 1e-2, step, gradientScale: 1 });
  }
  const after = await engine.evaluate(batch!);
  return { before: before.lossSum, after: after.lossSum };
}
