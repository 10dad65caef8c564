/** Where bytes come from: a file, a browser file handle, memory. Platforms implement these; everything else only reads them. */
export interface ByteSource {
  readonly name: string;
  /** Bytes. */
  readonly size: number;
  /** @throws if fewer than `length` bytes follow `offset` */
  read(offset: number, length: number): Promise<Uint8Array>;
}

export interface Folder {
  readonly name: string;
  list(): Promise<string[]>;
  has(file: string): Promise<boolean>;
  open(file: string): Promise<ByteSource>;
  readText(file: string): Promise<string>;
}
