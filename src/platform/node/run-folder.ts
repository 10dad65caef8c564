/** A run's folder on disk. */
import { access, appendFile, mkdir, readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { explainWriteError, writeFileAtomic } from "./files.ts";
import { createFolderShelf } from "./folder-shelf.ts";

export function openRunFolder(path: string) {
  return {
    path,
    has: (file: string) => access(join(path, file)).then(() => true, () => false),
    readText: (file: string) => readFile(join(path, file), "utf8"),
    write: (file: string, content: string | Uint8Array | AsyncIterable<Uint8Array>) => writeFileAtomic(join(path, file), content),
    async append(file: string, content: string | Uint8Array) {
      await mkdir(dirname(join(path, file)), { recursive: true });
      await appendFile(join(path, file), content).catch((error: unknown) => {
        throw explainWriteError(join(path, file), error);
      });
    },
    checkpoints: createFolderShelf(join(path, "checkpoints")),
  };
}
