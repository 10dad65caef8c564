/**
 * Data set files of the local disk: JSONL, JSON, text (each also gzipped), CSV, TSV and Parquet, by path or glob.
 * JSONL is read here and not by DuckDB because an error must name the line and the byte; DuckDB reads CSV and Parquet.
 */
import { createHash } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { gunzipSync } from "node:zlib";
import { DataError } from "../../base/errors.ts";
import type { SourceRow } from "../../data/dataset.ts";
import type { Row } from "../../data/formats/format.ts";
import { listOfRows, unnest } from "../../data/nested-rows.ts";

export interface DatasetFiles {
  readonly rows: SourceRow[];
  readonly files: readonly { readonly path: string; readonly rows: number; readonly bytes: number; readonly sha256: string }[];
}

type Reader = (path: string, bytes: Buffer) => Promise<SourceRow[]> | SourceRow[];

const readers: Readonly<Record<string, Reader>> = {
  jsonl: readJsonLines,
  ndjson: readJsonLines,
  json: readJsonDocument,
  txt: (path, bytes) => [{ row: { text: decode(path, bytes) }, at: path }],
  csv: (path) => readWithDuckDb(path, "read_csv"),
  tsv: (path) => readWithDuckDb(path, "read_csv"),
  parquet: (path) => readWithDuckDb(path, "read_parquet"),
};

/** @throws DataError if nothing matches, a kind is not known, or a file is damaged */
export async function readDatasetFiles(patterns: string | readonly string[]): Promise<DatasetFiles> {
  const rows: SourceRow[] = [];
  const files: { path: string; rows: number; bytes: number; sha256: string }[] = [];
  for (const pattern of [patterns].flat()) {
    for (const path of await expand(pattern)) {
      const bytes = await readFile(path).catch((error: NodeJS.ErrnoException) => {
        throw new DataError(`${path} cannot be read: ${error.code}. Check the path and its permissions.`, { cause: error });
      });
      const kind = path.replace(/\.gz$/, "").split(".").at(-1)!.toLowerCase();
      const reader = readers[kind];
      if (!reader)
        throw new DataError(
          `${path}: files of kind "${kind}" are not known; known: ${Object.keys(readers).join(", ")}, each text kind also as .gz.`,
        );
      const read = (await reader(path, path.endsWith(".gz") ? gunzipSync(bytes) : bytes)).flatMap(unnest);
      if (read.length === 0) throw new DataError(`${path} is empty; expected at least one row.`);
      rows.push(...read);
      files.push({ path, rows: read.length, bytes: bytes.length, sha256: createHash("sha256").update(bytes).digest("hex") });
    }
  }
  return { rows, files };
}

/** `*` and `?` stand for characters of a file name. */
async function expand(pattern: string): Promise<string[]> {
  if (!/[*?]/.test(pattern)) return [pattern];
  const folder = dirname(pattern);
  const expression = basename(pattern)
    .replace(/[.+^${}()|[\]\\]/g, "\\$&")
    .replaceAll("*", ".*")
    .replaceAll("?", ".");
  const names = await readdir(folder).catch(() => []);
  const found = names
    .filter((name) => new RegExp(`^${expression}$`).test(name))
    .sort()
    .map((name) => join(folder, name));
  if (found.length === 0) throw new DataError(`${pattern} matches no file in ${resolve(folder)}.`);
  return found;
}

function decode(path: string, bytes: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw new DataError(`${path}: invalid UTF-8 near byte ${firstInvalidByte(bytes)}. Save the file as UTF-8.`);
  }
}

/** Halving: the longest valid beginning ends within four bytes of the fault. */
function firstInvalidByte(bytes: Uint8Array): number {
  let [valid, invalid] = [0, bytes.length];
  while (invalid - valid > 1) {
    const middle = (valid + invalid) >> 1;
    const text = new TextDecoder().decode(bytes.subarray(0, middle)).replace(/\uFFFD{1,3}$/, "");
    if (text.includes("\uFFFD")) invalid = middle;
    else valid = middle;
  }
  return valid;
}

function readJsonLines(path: string, bytes: Buffer): SourceRow[] {
  const rows: SourceRow[] = [];
  let line = 0;
  for (let start = 0; start < bytes.length; ) {
    const newline = bytes.indexOf(10, start);
    const end = newline < 0 ? bytes.length : newline;
    line++;
    const at = `${path}:${line}`;
    const text = decode(at, bytes.subarray(start, end));
    if (text.trim() !== "") rows.push({ row: asRow(parseJson(at, text), at), at });
    start = end + 1;
  }
  return rows;
}

function readJsonDocument(path: string, bytes: Buffer): SourceRow[] {
  const text = decode(path, bytes);
  const document = parseJson(path, text);
  const list = listOfRows(document);
  if (!list)
    throw new DataError(
      `${path} holds ${document === null ? "null" : typeof document}; expected a list of rows, or an object with one under "data". One row for each line belongs in a .jsonl file.`,
    );
  return list.rows.map((row, i) => {
    const at = `${path}${list.path}[${i}]`;
    return { row: asRow(row, at), at };
  });
}

function parseJson(at: string, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new DataError(`${at}: not valid JSON: ${(error as Error).message}. Correct or remove it.`);
  }
}

function asRow(value: unknown, at: string): Row {
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw new DataError(`${at}: the row is ${JSON.stringify(value)?.slice(0, 60)}; expected an object with named columns.`);
  return value as Row;
}

async function readWithDuckDb(path: string, reader: "read_csv" | "read_parquet"): Promise<SourceRow[]> {
  const { DuckDBInstance } = await import("@duckdb/node-api");
  const connection = await (await DuckDBInstance.create(":memory:")).connect();
  try {
    const options = reader === "read_csv" ? ", all_varchar = true" : "";
    const result = await connection.runAndReadAll(`SELECT * FROM ${reader}('${path.replaceAll("'", "''")}'${options})`);
    return result.getRowObjectsJson().map((row, i) => ({ row: row as Row, at: `${path} row ${i + 1}` }));
  } catch (error) {
    throw new DataError(`${path} cannot be read: ${(error as Error).message}`, { cause: error });
  } finally {
    connection.closeSync();
  }
}
