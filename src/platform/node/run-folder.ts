/** A run's folder on disk. */
import { access, appendFile, mkdir, readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { AppendFile } from "../../base/append-file.ts";
import { explainWriteError, openFile, writeFileAtomic } from "./files.ts";
import { createFolderShelf } from "./folder-shelf.ts";

export function openRunFolder(path: string) {
  return {
    path,
    has: (file: string) =>
      access(join(path, file)).then(
        () => true,
        () => false,
      ),
    readText: (file: string) => readFile(join(path, file), "utf8"),
    open: (file: string) => openFile(join(path, file)),
    write: (file: string, content: string | Uint8Array | AsyncIterable<Uint8Array>) => writeFileAtomic(join(path, file), content),
    appendTo: (file: string) => openAppendFile(join(path, file)),
    checkpoints: createFolderShelf(join(path, "checkpoints")),
  };
}

function openAppendFile(path: string): AppendFile {
  return {
    name: path,
    read: () => readFile(path).catch(() => new Uint8Array()),
    async append(bytes) {
      await mkdir(dirname(path), { recursive: true });
      await appendFile(path, bytes).catch((error: unknown) => {
        throw explainWriteError(path, error);
      });
    },
    replace: (bytes) => writeFileAtomic(path, bytes),
  };
}
