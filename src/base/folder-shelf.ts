/** A shelf of named folders of files. Each is written whole or not at all, with checksums that are verified when it is read. */
import type { Folder } from "./byte-source.ts";

export type FileContent = string | AsyncIterable<Uint8Array>;

export interface FolderShelf {
  /** Replaces a folder of the same name. @throws if it cannot be written; what stood there before still stands */
  write(name: string, files: Readonly<Record<string, FileContent>>): Promise<void>;
  /** @throws CheckpointError if a file is missing or differs from its checksum */
  open(name: string): Promise<Folder>;
  list(): Promise<string[]>;
  remove(name: string): Promise<void>;
}
