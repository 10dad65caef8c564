/** A file that grows: logs and event files. Platforms implement it. */
export interface AppendFile {
  readonly name: string;
  /** Empty while the file does not exist. */
  read(): Promise<Uint8Array>;
  /** Creates the file where it does not exist. @throws if the bytes cannot be written, for instance because the disk is full */
  append(bytes: Uint8Array): Promise<void>;
  /** The whole content at once: a crash leaves the old or the new. */
  replace(bytes: Uint8Array): Promise<void>;
}

/** In memory: for tests, and where there is no disk. */
export function createMemoryAppendFile(name = "memory", content = new Uint8Array()): AppendFile {
  let bytes: Uint8Array = content;
  return {
    name,
    read: async () => bytes,
    async append(more) {
      const joined = new Uint8Array(bytes.length + more.length);
      joined.set(bytes);
      joined.set(more, bytes.length);
      bytes = joined;
    },
    async replace(whole) {
      bytes = whole.slice();
    },
  };
}
