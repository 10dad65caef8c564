/** What an update continues: the earlier run's model, its rows for replay, and what it held out, to see what is forgotten. */
import { ConfigError } from "../base/errors.ts";
import type { SourceRow } from "../data/dataset.ts";
import { type Adapter, readAdapter } from "../execution/weights/adapter-files.ts";
import { parseRunConfig, type RunConfig } from "./config.ts";
import { parseConfigText } from "./config-text.ts";
import type { RunEnvironment } from "./environment.ts";
import { type Manifest, parseManifest } from "./manifest.ts";
import { readRows } from "./rows.ts";

export interface EarlierRun {
  readonly config: RunConfig;
  /** The model that the update trains on: the earlier base under its adapter, or the earlier run's own model. */
  readonly model: string;
  /** Undefined where the earlier run trained the model's own weights. */
  readonly adapter: Adapter | undefined;
  readonly lineage: Manifest["lineage"];
  /** Training rows of this run and of those that it continued itself, each with the format it was read in. */
  readonly replay: readonly ReplayRows[];
  readonly heldOut: ReplayRows;
}

export interface ReplayRows {
  readonly rows: readonly SourceRow[];
  readonly format: string;
}

/** The configuration of a finished run, and the model it left. @throws ConfigError if the folder holds no finished run */
export async function openEarlierRun(path: string, environment: RunEnvironment): Promise<EarlierRun> {
  const folder = environment.openRunFolder(path);
  if (!(await folder.has("config.yaml")))
    throw new ConfigError(
      `update.from: ${path} is not the folder of a run (it has no config.yaml). Name the output folder of a finished run.`,
    );
  const config = parseRunConfig(parseConfigText(await folder.readText("config.yaml"), `${path}/config.yaml`));
  const left = (await folder.has("adapter/adapter_config.json"))
    ? "adapter"
    : (await folder.has("model/config.json"))
      ? "model"
      : undefined;
  if (!left)
    throw new ConfigError(
      `update.from: the run in ${path} has not finished; it left neither adapter/ nor model/. Continue it with: tunesmith train ${path}/config.yaml --resume`,
    );
  const leftFolder = await environment.openModelFolder(`${path}/${left}`);
  const manifest = parseManifest(await folder.readText("manifest.json"), `${path}/manifest.json`);
  const rows = await readRows(config, environment);
  const before = config.update ? (await openEarlierRun(config.update.from, environment)).replay : [];
  const { format } = config.data;
  return {
    config,
    model: left === "model" ? `${path}/model` : config.model,
    adapter: left === "adapter" ? await readAdapter(leftFolder) : undefined,
    lineage: [...manifest.lineage, { run: path, weights: await environment.hashModelFiles(leftFolder) }],
    replay: [{ rows: rows.train, format }, ...before],
    heldOut: { rows: rows.test.length > 0 ? rows.test : rows.validation, format },
  };
}
