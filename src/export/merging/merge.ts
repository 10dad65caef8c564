/** Carries out a recipe on opened folders: the files of the merged adapter or model, and the manifest that says what they were made of. */
import type { Folder } from "../../base/byte-source.ts";
import { crc32c } from "../../base/crc32c.ts";
import { CheckpointError } from "../../base/errors.ts";
import type { FileContent } from "../../base/folder-shelf.ts";
import { createRandom, type Random } from "../../base/random.ts";
import { openCheckpoint } from "../../models/weights/checkpoint.ts";
import { encodeShards } from "../../models/weights/sharded.ts";
import { companionFiles } from "../merged-checkpoint.ts";
import { readLoraSource } from "./lora-source.ts";
import { encodeMergedAdapter, mergeAdapters } from "./merge-adapters.ts";
import { mergeModels } from "./merge-models.ts";
import type { MergeRecipe } from "./recipe.ts";

/** @throws CheckpointError if the sources do not fit each other; UnsupportedError for an adapter kind that cannot be merged */
export async function mergedFiles(
  recipe: MergeRecipe,
  { sources, base }: { sources: readonly Folder[]; base?: Folder | undefined },
): Promise<Record<string, FileContent>> {
  const { weights, config } = recipe;
  const randomFor = (name: string): Random => createRandom((recipe.seed ^ crc32c(new TextEncoder().encode(name))) >>> 0);
  if (recipe.kind === "adapters") {
    const opened = await Promise.all(sources.map(readLoraSource));
    return encodeMergedAdapter(mergeAdapters({ sources: opened, weights, method: recipe.method, config, randomFor }), opened);
  }
  const opened = await Promise.all(sources.map(openCheckpoint));
  const tensors = mergeModels({
    ...{ sources: opened, weights, combiner: recipe.method, config, randomFor },
    ...(base && { base: await openCheckpoint(base) }),
  });
  return { ...(await companionFiles(base ?? sources[0]!)), ...encodeShards(tensors) };
}

export interface HashedFile {
  readonly file: string;
  readonly sha256: string;
  readonly bytes: number;
}

export interface MergeSource {
  readonly path: string;
  readonly files: readonly HashedFile[];
  /** Files of the base model, where the manifest of the adapter's run names them. */
  readonly base?: readonly HashedFile[] | undefined;
}

/** @throws CheckpointError if two adapters are known to come from different base weights */
export function checkSameBase(sources: readonly MergeSource[]): void {
  const [first, ...others] = sources.filter(({ base }) => base !== undefined);
  for (const other of others) {
    const known = new Map(first!.base!.map(({ file, sha256 }) => [file, sha256]));
    const different = other.base!.find(({ file, sha256 }) => file.endsWith(".safetensors") && known.get(file) !== sha256);
    if (different)
      throw new CheckpointError(
        `${first!.path} and ${other.path} were tuned from different base models: ${different.file} is ${known.get(different.file)?.slice(0, 12) ?? "absent"}... for the first, ${different.sha256.slice(0, 12)}... for the second. Merge adapters of one base.`,
      );
  }
}

/** manifest.json of a merged folder. `weights` are the base model's files, under the name that a run's manifest gives them. */
export function mergeManifest(
  recipe: MergeRecipe,
  {
    sources,
    base,
    ...made
  }: { sources: readonly MergeSource[]; base?: MergeSource | undefined; command: readonly string[]; tunesmith: string; createdAt: string },
): string {
  const { kind, weights, config, seed } = recipe;
  const merge = { kind, method: config, seed, sources: sources.map(({ path, files }, i) => ({ path, weight: weights[i], files })) };
  const baseFiles = base?.files ?? sources.find((source) => source.base)?.base;
  return `${JSON.stringify({ formatVersion: 1, ...made, merge, ...(baseFiles && { weights: baseFiles }) }, null, 2)}\n`;
}
