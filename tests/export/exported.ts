/** Exports a small checkpoint and opens its files with onnxruntime alone. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect } from "vitest";
import type { LoadedModel } from "../../src/execution/loaded-model.ts";
import { type OnnxOptions, onnxFiles } from "../../src/export/onnx/onnx-files.ts";
import { openFolder, writeFileAtomic } from "../../src/platform/node/files.ts";
import { loadOnnxRuntime } from "../../src/platform/node/onnxruntime.ts";
import { backend, type openTinyModel } from "../conformance/tiny-model.ts";

export const ort = await loadOnnxRuntime();
export type Session = Awaited<ReturnType<typeof ort.InferenceSession.create>>;
type Tensor = Awaited<ReturnType<Session["run"]>>[string];

const out = mkdtempSync(join(tmpdir(), "tunesmith-onnx-"));
afterAll(() => rmSync(out, { recursive: true, force: true }));
let count = 0;

/** @returns the files beside the graphs as they were written, and a session for each graph by its name */
export async function exportModel(opened: Awaited<ReturnType<typeof openTinyModel>>, base: string, options: Partial<OnnxOptions> = {}) {
  const folder = join(out, String(count++));
  const loaded = { ...opened, backend } as unknown as LoadedModel;
  const files = await onnxFiles(loaded, openFolder(base), { weightType: "float32", ...options });
  const sessions: Record<string, Session> = {};
  for (const [file, content] of Object.entries(files)) await writeFileAtomic(join(folder, file), content);
  for (const file of Object.keys(files))
    if (file.endsWith(".onnx"))
      sessions[file.slice("onnx/".length, -".onnx".length)] = await ort.InferenceSession.create(join(folder, file));
  return { files, sessions };
}

/** Rows of equal length. */
export const int64 = (rows: readonly (readonly number[])[]): Tensor =>
  new ort.Tensor("int64", BigInt64Array.from(rows.flat(), BigInt), [rows.length, rows[0]!.length]);

/** Rows of any length side by side. @param side where padding stands */
export function padded(rows: readonly (readonly number[])[], side: "left" | "right" = "right") {
  const longest = Math.max(...rows.map(({ length }) => length));
  const fill = (row: readonly number[], value: number): number[] => {
    const padding = new Array<number>(longest - row.length).fill(value);
    return side === "left" ? [...padding, ...row] : [...row, ...padding];
  };
  return {
    fill: (values: readonly (readonly number[])[]) => values.map((row) => fill(row, 0)),
    attentionMask: rows.map((row) =>
      fill(
        row.map(() => 1),
        0,
      ),
    ),
    /** Where the row's tokens begin. */
    start: (row: number): number => (side === "left" ? longest - rows[row]!.length : 0),
  };
}

/** Numbers of the last dimension, by the indices of the others. */
export function rowsOf(tensor: Tensor): number[][] {
  const width = tensor.dims.at(-1)!;
  const data = [...(tensor.data as Float32Array)];
  return Array.from({ length: data.length / width }, (_, i) => data.slice(i * width, (i + 1) * width));
}

export function expectClose(actual: readonly number[], expected: readonly number[], tolerance = 1e-4): void {
  expect(actual.length).toBe(expected.length);
  const worst = actual.reduce((most, value, i) => Math.max(most, Math.abs(value - expected[i]!)), 0);
  expect(worst).toBeLessThan(tolerance);
}
