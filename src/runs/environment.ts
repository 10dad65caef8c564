/** What a run needs of the machine it runs on. Node implements it; a browser can. */

import type { Backend } from "../backends/backend.ts";
import type { AppendFile } from "../base/append-file.ts";
import type { ByteSource, Folder } from "../base/byte-source.ts";
import type { FileContent, FolderShelf } from "../base/folder-shelf.ts";
import type { SourceRow } from "../data/dataset.ts";
import type { QuantisedCache } from "../execution/weights/quantised-base.ts";
import type { Manifest } from "./manifest.ts";

export interface DataFile {
  readonly path: string;
  readonly rows: number;
  readonly bytes: number;
  readonly sha256: string;
}

export interface RunEnvironment {
  /** A checkpoint folder for a path or a hub name. */
  openModelFolder(model: string): Promise<Folder>;
  readDataset(files: string | readonly string[]): Promise<{ readonly rows: SourceRow[]; readonly files: readonly DataFile[] }>;
  createBackend(device: string): Promise<Backend>;
  openRunFolder(path: string): RunFolder;
  /** What manifest.json says of the machine. */
  describe(device: string): Manifest["environment"];
  /** The command line, one argument an item. */
  readonly command: readonly string[];
  /** Hashes of the base model's files. */
  hashModelFiles(folder: Folder): Promise<Manifest["weights"]>;
  /** Where quantised copies of base models are kept; absent where nothing can be. */
  readonly quantisedCache?: QuantisedCache;
  /** Most memory that the process has held, bytes. */
  peakMemoryBytes(): number;
}

/** The folder that a run leaves behind. */
export interface RunFolder {
  readonly path: string;
  has(file: string): Promise<boolean>;
  readText(file: string): Promise<string>;
  open(file: string): Promise<ByteSource>;
  /** Whole or not at all. */
  write(file: string, content: FileContent | Uint8Array): Promise<void>;
  appendTo(file: string): AppendFile;
  readonly checkpoints: FolderShelf;
}
