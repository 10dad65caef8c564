/** Files and folders of the local disk. Whatever is written is written aside, flushed and renamed, so that a crash leaves the old file or the new one. */
import { constants } from "node:fs";
import { access, mkdir, open, readdir, readFile, rename, rm, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import type { ByteSource, Folder } from "../../base/byte-source.ts";
import { CheckpointError, TunesmithError } from "../../base/errors.ts";

/** A file opened for each read, so that nobody has to close it. */
export async function openFile(path: string): Promise<ByteSource> {
  const explain = (error: NodeJS.ErrnoException): never => {
    throw new CheckpointError(`${path} cannot be read: ${error.code}. Check the path and its permissions.`, { cause: error });
  };
  const { size } = await stat(path).catch(explain);
  return {
    name: path,
    size,
    async read(offset, length) {
      const handle = await open(path, "r").catch(explain);
      try {
        const bytes = new Uint8Array(length);
        for (let done = 0; done < length; ) {
          // One call reads at most 2 GiB.
          const { bytesRead } = await handle.read(bytes, done, Math.min(length - done, 2 ** 30), offset + done);
          if (bytesRead === 0)
            throw new CheckpointError(
              `${path} ended at byte ${offset + done}; expected ${offset + length}. The file was cut short while it was read.`,
            );
          done += bytesRead;
        }
        return bytes;
      } finally {
        await handle.close();
      }
    },
  };
}

export function openFolder(path: string): Folder {
  return {
    name: path,
    list: () => readdir(path),
    has: (file) =>
      access(join(path, file), constants.R_OK).then(
        () => true,
        () => false,
      ),
    open: (file) => openFile(join(path, file)),
    readText: (file) => readFile(join(path, file), "utf8"),
  };
}

export const isFolder = (path: string): Promise<boolean> =>
  stat(path).then(
    (entry) => entry.isDirectory(),
    () => false,
  );

/** Writes a whole file or nothing.
 * @throws TunesmithError if the disk is full or the folder cannot be written; what stood there before still stands */
export async function writeFileAtomic(path: string, content: Uint8Array | string | AsyncIterable<Uint8Array>): Promise<void> {
  const folder = dirname(path);
  await mkdir(folder, { recursive: true });
  const aside = join(folder, `.${basename(path)}.${process.pid}.tmp`);
  try {
    const handle = await open(aside, "w");
    try {
      if (typeof content === "string" || content instanceof Uint8Array) await handle.writeFile(content);
      else for await (const piece of content) await handle.writeFile(piece);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(aside, path);
    await syncFolder(folder);
  } catch (error) {
    await rm(aside, { force: true });
    throw explainWriteError(path, error);
  }
}

/** Makes a rename in this folder last through a power cut. */
export async function syncFolder(path: string): Promise<void> {
  const handle = await open(path, "r");
  await handle.sync().catch(() => {}); // not every file system lets folders be flushed
  await handle.close();
}

export function explainWriteError(path: string, error: unknown): unknown {
  const code = (error as NodeJS.ErrnoException).code;
  if (code === "ENOSPC")
    return new TunesmithError(
      "disk-full",
      `${path} could not be written: the disk is full. Nothing that was saved before is lost; free some space and run again with --resume.`,
      { cause: error },
    );
  if (code === "EACCES" || code === "EROFS" || code === "EPERM")
    return new TunesmithError("not-writable", `${path} could not be written: ${code}. Choose a folder that you may write to.`, {
      cause: error,
    });
  return error;
}
