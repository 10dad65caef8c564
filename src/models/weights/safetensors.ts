/** The safetensors format: eight bytes of header length, a JSON header, tensor bytes. Everything the header claims is checked before it is used. */
import type { ByteSource } from "../../base/byte-source.ts";
import { CheckpointError } from "../../base/errors.ts";

const elementBytes = { F64: 8, F32: 4, F16: 2, BF16: 2, I64: 8, I32: 4, I16: 2, I8: 1, U8: 1, BOOL: 1 } as const;
export type SafetensorsDType = keyof typeof elementBytes;

export interface TensorEntry {
  readonly dtype: SafetensorsDType;
  readonly shape: readonly number[];
  /** Byte range in the file. */
  readonly begin: number;
  readonly end: number;
}

export interface SafetensorsFile {
  readonly source: ByteSource;
  readonly tensors: ReadonlyMap<string, TensorEntry>;
  readonly metadata: Readonly<Record<string, string>>;
}

/** More than any real header; a larger length means that the file is something else. */
const largestHeader = 100 * 1024 ** 2;

/** @throws CheckpointError if the file is truncated, is not safetensors, or its header contradicts the file */
export async function openSafetensors(source: ByteSource): Promise<SafetensorsFile> {
  const fail = (what: string): never => {
    throw new CheckpointError(`${source.name}: ${what} Download the file again or write it again.`);
  };
  if (source.size < 8) fail(`the file has ${source.size} bytes; a safetensors file starts with an 8-byte header length.`);
  const prefix = await source.read(0, 8);
  const length = Number(new DataView(prefix.buffer, prefix.byteOffset).getBigUint64(0, true));
  if (length > largestHeader) fail(`the header claims ${length} bytes, so this is not a safetensors file or it is damaged.`);
  if (8 + length > source.size) fail(`truncated: the header claims ${length} bytes, the file has ${source.size}.`);
  let header: Record<string, unknown>;
  try {
    header = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(await source.read(8, length)));
  } catch (error) {
    return fail(`the header is not valid JSON (${(error as Error).message}).`);
  }
  const { __metadata__: metadata = {}, ...entries } = header;
  const tensors = new Map<string, TensorEntry>();
  for (const [name, entry] of Object.entries(entries))
    tensors.set(name, checkEntry({ name, entry, dataStart: 8 + length, fileSize: source.size, fail }));
  checkOverlap(tensors, fail);
  return { source, tensors, metadata: metadata as Record<string, string> };
}

export const readTensor = ({ source }: SafetensorsFile, { begin, end }: TensorEntry): Promise<Uint8Array> =>
  source.read(begin, end - begin);

interface EntryCheck {
  readonly name: string;
  readonly entry: unknown;
  readonly dataStart: number;
  readonly fileSize: number;
  fail(what: string): never;
}

function checkEntry({ name, entry, dataStart, fileSize, fail }: EntryCheck): TensorEntry {
  const { dtype, shape, data_offsets: offsets } = (entry ?? {}) as { dtype?: string; shape?: unknown; data_offsets?: unknown };
  const integers = (list: unknown): list is number[] => Array.isArray(list) && list.every((n) => Number.isSafeInteger(n) && n >= 0);
  if (dtype === undefined || !(dtype in elementBytes))
    return fail(`tensor "${name}" has the unknown element type ${JSON.stringify(dtype)}; known: ${Object.keys(elementBytes).join(", ")}.`);
  if (!integers(shape)) return fail(`tensor "${name}" has the shape ${JSON.stringify(shape)}; expected a list of sizes.`);
  if (!integers(offsets) || offsets.length !== 2 || offsets[1]! < offsets[0]!)
    return fail(`tensor "${name}" has the offsets ${JSON.stringify(offsets)}; expected [begin, end].`);
  const [begin, end] = [dataStart + offsets[0]!, dataStart + offsets[1]!];
  if (end > fileSize) return fail(`truncated: tensor "${name}" ends at byte ${end}, the file has ${fileSize}.`);
  const expected = shape.reduce((product, n) => product * n, 1) * elementBytes[dtype as SafetensorsDType];
  if (end - begin !== expected)
    return fail(`tensor "${name}" ${dtype} [${shape.join(", ")}] needs ${expected} bytes; its offsets give ${end - begin}.`);
  return { dtype: dtype as SafetensorsDType, shape, begin, end };
}

function checkOverlap(tensors: ReadonlyMap<string, TensorEntry>, fail: (what: string) => never): void {
  const sorted = [...tensors].sort(([, a], [, b]) => a.begin - b.begin || a.end - b.end);
  for (let i = 1; i < sorted.length; i++) {
    const [[before, a], [after, b]] = [sorted[i - 1]!, sorted[i]!];
    if (b.begin < a.end) fail(`tensors "${before}" and "${after}" overlap at byte ${b.begin}.`);
  }
}

export interface TensorToWrite {
  readonly dtype: SafetensorsDType;
  readonly shape: readonly number[];
  /** The bytes, asked for once, when their turn comes: a checkpoint is never held whole. */
  read(): Promise<Uint8Array>;
}

export const tensorBytes = ({ dtype, shape }: Pick<TensorToWrite, "dtype" | "shape">): number =>
  shape.reduce((product, n) => product * n, 1) * elementBytes[dtype];

/** Yields the file piece by piece. Tensors are written in the order given; the header is padded to 8 bytes as the reference does. */
export async function* encodeSafetensors(
  tensors: ReadonlyMap<string, TensorToWrite>,
  metadata: Readonly<Record<string, string>> = { format: "pt" },
): AsyncGenerator<Uint8Array> {
  let offset = 0;
  const header: Record<string, unknown> = { __metadata__: metadata };
  for (const [name, { dtype, shape }] of tensors) {
    const size = tensorBytes({ dtype, shape });
    header[name] = { dtype, shape, data_offsets: [offset, offset + size] };
    offset += size;
  }
  const json = JSON.stringify(header);
  const bytes = new TextEncoder().encode(json + " ".repeat((8 - (new TextEncoder().encode(json).length % 8)) % 8));
  const prefix = new Uint8Array(8);
  new DataView(prefix.buffer).setBigUint64(0, BigInt(bytes.length), true);
  yield prefix;
  yield bytes;
  for (const tensor of tensors.values()) yield await tensor.read();
}
