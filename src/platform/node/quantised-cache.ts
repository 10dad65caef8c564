/** Quantised copies of checkpoints, beside the hub's cache: one folder for each pair of weights and options. */
import { createHash } from "node:crypto";
import { realpath } from "node:fs/promises";
import { basename, join } from "node:path";
import type { Folder } from "../../base/byte-source.ts";
import { createFolderShelf, hashFile } from "./folder-shelf.ts";
import { huggingFaceHome } from "./hub.ts";

/** Part of the name: copies of another layout are not read. */
const formatVersion = 1;

export interface QuantisedCacheOptions {
  /** Environment variables; default: the process's. */
  readonly environment?: Readonly<Record<string, string | undefined>>;
  onNotice(message: string): void;
}

export function createQuantisedCache({ environment = process.env, onNotice }: QuantisedCacheOptions) {
  return {
    shelf: createFolderShelf(join(huggingFaceHome(environment), "tunesmith-quantized")),
    onNotice,
    async nameOf(checkpoint: Folder, options: { readonly format: string }): Promise<string> {
      const files = (await checkpoint.list()).filter((file) => file.endsWith(".safetensors")).sort();
      const hashes: string[] = [];
      for (const file of files) hashes.push(await contentHash(join(checkpoint.name, file)));
      const key = createHash("sha256").update(JSON.stringify({ formatVersion, options, hashes })).digest("hex");
      return `${options.format}-${key.slice(0, 40)}`;
    },
  };
}

/** In the hub's cache a file is a link to its content, which is named by its SHA-256. */
async function contentHash(path: string): Promise<string> {
  const name = basename(await realpath(path));
  return /^[0-9a-f]{64}$/.test(name) ? name : hashFile(path);
}
