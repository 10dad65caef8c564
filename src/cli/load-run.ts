/** Opens what a user names: a checkpoint folder, or a run folder or adapter folder with the base it belongs to. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { CheckpointError, ConfigError } from "../base/errors.ts";
import { type LoadedModel, openModel } from "../execution/loaded-model.ts";
import { readAdapter } from "../execution/weights/adapter-files.ts";
import { headOfCheckpoint, isBare } from "../export/config-json.ts";
import { createModel } from "../models/families/registry.ts";
import { readJson } from "../models/weights/checkpoint.ts";
import { isFolder, openFolder } from "../platform/node/files.ts";
import { bindAgain, taskFile } from "../runs/bind-task.ts";
import { parseRunConfig, type RunConfig } from "../runs/config.ts";
import { parseConfigText } from "../runs/config-text.ts";
import type { BoundTask } from "../tasks/task.ts";
import { createBackend, quantisedCache, resolveModelPath } from "./environment.ts";

export interface ModelChoice {
  /** A checkpoint folder, or a run's folder. */
  readonly model: string;
  /** Adapter folders or run folders, beside the run's own where the model is a run. */
  readonly adapter?: string | readonly string[] | undefined;
  readonly device: string;
  /** True if the command can switch between adapters. */
  readonly takesSeveral?: boolean;
  /** Of a model that was trained for no task of labels: what to bind it to; a language model where absent. */
  readonly defaultTask?: Readonly<Record<string, unknown>> | undefined;
}

export interface OpenedModel {
  readonly loaded: LoadedModel;
  /** Absent where it is what the model does by nature. */
  readonly task: BoundTask | undefined;
  readonly basePath: string;
  /** The first. */
  readonly adapterPath: string | undefined;
  /** In the order of their ids, which count from 1. */
  readonly adapterPaths: readonly string[];
}

/** @throws ConfigError if a run folder has neither an adapter nor a model, or there are more adapters than the command takes */
export async function openChosenModel({
  model,
  adapter = [],
  device,
  takesSeveral = false,
  defaultTask,
}: ModelChoice): Promise<OpenedModel> {
  const run = await runFolder(model);
  const given = await Promise.all([adapter].flat().map(async (path) => (await runFolder(path))?.adapterPath ?? path));
  const adapterPaths = run?.adapterPath === undefined ? given : [run.adapterPath, ...given];
  if (adapterPaths.length > 1 && !takesSeveral)
    throw new ConfigError(`${adapterPaths.length} adapters are named (${adapterPaths.join(", ")}); this command takes one.`);
  const adapters = await Promise.all(adapterPaths.map((path) => readAdapter(openFolder(path))));
  const basePath = await resolveModelPath(run?.basePath ?? model);
  const task = await findTask({ basePath, adapterPath: adapterPaths[0], defaultTask });
  const loaded = await openModel({
    folder: openFolder(basePath),
    ...(task && { task }),
    backend: await createBackend(device),
    quantisedCache,
    ...(adapters.length > 1 ? { adapters } : adapters[0] && { adapter: adapters[0] }),
  });
  return { loaded, task, basePath, adapterPath: adapterPaths[0], adapterPaths };
}

/** The task that an adapter was trained for, or that a checkpoint's class is for; undefined for what the model does by nature. */
async function findTask({ basePath, adapterPath, defaultTask }: TaskPlaces): Promise<BoundTask | undefined> {
  const config = await readJson(openFolder(basePath), "config.json");
  for (const path of adapterPath === undefined ? [basePath] : [adapterPath, basePath]) {
    const folder = openFolder(path);
    if (await folder.has(taskFile)) return bindAgain(await readJson(folder, taskFile), config);
  }
  const name = headOfCheckpoint(config);
  const chosen = name ? { name } : (defaultTask ?? (isBareEncoder(config) && { name: "sentence-embeddings" }));
  return chosen ? bindAgain(chosen, config) : undefined;
}

/** An encoder without a head for words: what it says of a text is what its tokens have become. */
const isBareEncoder = (config: Readonly<Record<string, unknown>>): boolean =>
  isBare(config) && createModel(config).maskKind(0).isBidirectional === true;

interface TaskPlaces extends Pick<ModelChoice, "defaultTask"> {
  readonly basePath: string;
  readonly adapterPath: string | undefined;
}

/** What the run behind these folders was told about its data and its metrics; undefined where none of them is a run's. */
export async function settingsOfRun(paths: readonly string[]): Promise<Pick<RunConfig, "data" | "evaluation"> | undefined> {
  for (const path of paths) {
    const file = join(path, "config.yaml");
    const text = await readFile(file, "utf8").catch(() => undefined);
    if (text !== undefined) return parseRunConfig(parseConfigText(text, file));
  }
  return undefined;
}

/** Base and adapter of a run's folder; undefined if this is not one. */
async function runFolder(path: string): Promise<{ basePath: string; adapterPath: string | undefined } | undefined> {
  const text = await readFile(join(path, "config.yaml"), "utf8").catch(() => undefined);
  if (text === undefined) return undefined;
  if (await isFolder(join(path, "model"))) return { basePath: join(path, "model"), adapterPath: undefined };
  if (!(await isFolder(join(path, "adapter"))))
    throw new ConfigError(
      `${path} is a run that has not finished: it holds neither adapter/ nor model/. Continue it with: tunesmith train ${join(path, "config.yaml")} --resume`,
    );
  const { model } = parseConfigText(text, join(path, "config.yaml"));
  if (typeof model !== "string") throw new CheckpointError(`${path}/config.yaml does not name its model.`);
  return { basePath: model, adapterPath: join(path, "adapter") };
}
