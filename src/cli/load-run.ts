/** Opens what a user names: a checkpoint folder, or a run folder or adapter folder with the base it belongs to. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { CheckpointError, ConfigError } from "../base/errors.ts";
import { readAdapter } from "../execution/adapter-files.ts";
import { type LoadedModel, openModel } from "../execution/loaded-model.ts";
import { isFolder, openFolder } from "../platform/node/files.ts";
import { parseConfigText } from "../runs/config-text.ts";
import { createBackend, resolveModelPath } from "./environment.ts";

export interface ModelChoice {
  /** A checkpoint folder, or a run's folder. */
  readonly model: string;
  /** An adapter folder, or a run's folder. */
  readonly adapter?: string | undefined;
  readonly device: string;
}

export interface OpenedModel {
  readonly loaded: LoadedModel;
  readonly basePath: string;
  readonly adapterPath: string | undefined;
}

/** @throws ConfigError if a run folder has neither an adapter nor a model */
export async function openChosenModel({ model, adapter, device }: ModelChoice): Promise<OpenedModel> {
  let [basePath, adapterPath] = [model, adapter];
  const run = await runFolder(model);
  if (run) ({ basePath, adapterPath } = run);
  else if (adapter !== undefined) adapterPath = (await runFolder(adapter))?.adapterPath ?? adapter;
  const loadedAdapter = adapterPath === undefined ? undefined : await readAdapter(openFolder(adapterPath));
  basePath = await resolveModelPath(basePath);
  const loaded = await openModel({
    folder: openFolder(basePath),
    backend: await createBackend(device),
    ...(loadedAdapter && { adapter: loadedAdapter }),
  });
  return { loaded, basePath, adapterPath };
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
