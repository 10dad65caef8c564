/** tunesmith merge: several adapters into one adapter, or several models into one model, as a recipe file says. */
import { basename, dirname, join, resolve } from "node:path";
import { ConfigError } from "../../base/errors.ts";
import { checkSameBase, type HashedFile, type MergeSource, mergedFiles, mergeManifest } from "../../export/merging/merge.ts";
import { parseMergeRecipe } from "../../export/merging/recipe.ts";
import { readJson } from "../../models/weights/checkpoint.ts";
import { isFolder, openFolder } from "../../platform/node/files.ts";
import { createFolderShelf, hashFile } from "../../platform/node/folder-shelf.ts";
import type { Command } from "../command.ts";
import { readConfigFile } from "../config-file.ts";
import { resolveModelPath, tunesmithVersion } from "../environment.ts";

export const merge = {
  name: "merge",
  summary: "make one adapter of several, or one model of several",
  define(command, { print, log }) {
    command
      .argument("<recipe>", "YAML or JSON file: adapters or models, weights, method, output")
      .argument("[overrides...]", "single values, for example method.density=0.3 weights=[1,0.5]")
      .action(async (file: string, overrides: string[]) => {
        const recipe = parseMergeRecipe(await readConfigFile({ file, overrides, of: "recipe" }));
        const { output } = recipe;
        const target = resolve(output);
        if (await openFolder(dirname(target)).has(basename(target)))
          throw new ConfigError(`${output} exists already; choose another folder, so that nothing is overwritten.`);
        const open = recipe.kind === "adapters" ? adapterSource : modelSource;
        const sources = await Promise.all(recipe.sources.map(open));
        if (recipe.kind === "adapters") checkSameBase(sources);
        const base = recipe.kind === "models" && recipe.base !== undefined ? await modelSource(recipe.base) : undefined;
        log(`merging ${sources.length} ${recipe.kind} by ${recipe.method.name}`);
        const files = await mergedFiles(recipe, {
          sources: sources.map(({ path }) => openFolder(path)),
          base: base && openFolder(base.path),
        });
        const made = { command: process.argv.slice(2), tunesmith: tunesmithVersion, createdAt: new Date().toISOString() };
        const all = { ...files, "manifest.json": mergeManifest(recipe, { sources, base, ...made }) };
        await createFolderShelf(dirname(target)).write(basename(target), all);
        print(`${output}: ${Object.keys(all).join(", ")}`);
      });
  },
} as const satisfies Command;

/** An adapter's folder, or that of the run that trained it. */
async function adapterSource(path: string): Promise<MergeSource> {
  const inRun = await isFolder(join(path, "adapter"));
  const folder = inRun ? join(path, "adapter") : path;
  return {
    path: folder,
    files: await hashFiles(folder, ["adapter_config.json", "adapter_model.safetensors"]),
    base: (await baseIn(folder)) ?? (await baseIn(join(folder, ".."))),
  };
}

/** The base model's files as a manifest in this folder has them; undefined where there is none. */
async function baseIn(path: string): Promise<readonly HashedFile[] | undefined> {
  const folder = openFolder(path);
  return (await folder.has("manifest.json"))
    ? ((await readJson(folder, "manifest.json")).weights as readonly HashedFile[] | undefined)
    : undefined;
}

async function modelSource(model: string): Promise<MergeSource> {
  const inRun = await isFolder(join(model, "model"));
  const path = inRun ? join(model, "model") : await resolveModelPath(model);
  const names = (await openFolder(path).list()).filter((name) => name.endsWith(".safetensors") || name === "config.json");
  return { path, files: await hashFiles(path, names.sort()) };
}

async function hashFiles(path: string, names: readonly string[]): Promise<HashedFile[]> {
  const folder = openFolder(path);
  const hashed: HashedFile[] = [];
  for (const file of names) {
    // What is missing is reported where it is read, with what was expected.
    if (await folder.has(file)) hashed.push({ file, sha256: await hashFile(join(path, file)), bytes: (await folder.open(file)).size });
  }
  return hashed;
}
