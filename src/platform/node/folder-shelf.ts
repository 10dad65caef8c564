/** Folders on disk that are written aside, flushed and renamed: after a kill at any moment each is whole or is not there. */
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { mkdir, open, readdir, readFile, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { CheckpointError } from "../../base/errors.ts";
import type { FileContent, FolderShelf } from "../../base/folder-shelf.ts";
import { explainWriteError, openFolder, syncFolder } from "./files.ts";

const aside = ".writing-";
const checksumFile = "checksums.json";

export function createFolderShelf(root: string): FolderShelf {
  return {
    async write(name, files) {
      const target = join(root, name);
      const writing = join(root, `${aside}${name}`);
      const replaced = join(root, `${aside}${name}-replaced`);
      try {
        await rm(writing, { recursive: true, force: true });
        await mkdir(writing, { recursive: true });
        const checksums: Record<string, string> = {};
        for (const [file, content] of Object.entries(files)) checksums[file] = await writeFlushed(join(writing, file), content);
        await writeFlushed(join(writing, checksumFile), JSON.stringify(checksums));
        await syncFolder(writing);
        await rename(target, replaced).catch(() => {});
        await rename(writing, target);
        await syncFolder(root);
        await rm(replaced, { recursive: true, force: true });
      } catch (error) {
        await rm(writing, { recursive: true, force: true });
        throw explainWriteError(target, error);
      }
    },
    async open(name) {
      const path = join(root, name);
      const checksums = JSON.parse(await readFile(join(path, checksumFile), "utf8")) as Record<string, string>;
      for (const [file, expected] of Object.entries(checksums)) {
        const found = await hashFile(join(path, file));
        if (found !== expected)
          throw new CheckpointError(
            `${join(path, file)} is damaged: its checksum is ${found.slice(0, 12)}..., expected ${expected.slice(0, 12)}....`,
          );
      }
      return openFolder(path);
    },
    list: async () => (await readdir(root).catch(() => [] as string[])).filter((name) => !name.startsWith(aside)),
    remove: (name) => rm(join(root, name), { recursive: true, force: true }),
  };
}

/** @returns SHA-256 of what was written */
async function writeFlushed(path: string, content: FileContent): Promise<string> {
  const hash = createHash("sha256");
  const handle = await open(path, "w");
  try {
    for await (const piece of typeof content === "string" ? [Buffer.from(content)] : content) {
      hash.update(piece);
      await handle.writeFile(piece);
    }
    await handle.sync();
  } finally {
    await handle.close();
  }
  return hash.digest("hex");
}

export async function hashFile(path: string): Promise<string> {
  const hash = createHash("sha256");
  for await (const piece of createReadStream(path)) hash.update(piece as Buffer);
  return hash.digest("hex");
}
