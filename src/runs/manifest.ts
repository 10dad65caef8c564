/** manifest.json: what a run was made of, so that someone else can make it again and can tell whether it came out the same. */
import { z } from "zod";
import { CheckpointError } from "../base/errors.ts";

const sha256 = z.string().regex(/^[0-9a-f]{64}$/, "64 hexadecimal digits");
const time = z.iso.datetime();
const hashedFile = z.strictObject({ file: z.string(), sha256, bytes: z.int().min(0) });

export const manifestSchema = z.strictObject({
  formatVersion: z.literal(1),
  command: z.array(z.string()).describe("The command line, one argument an item."),
  seed: z.int(),
  startedAt: time,
  finishedAt: time.optional(),
  status: z.enum(["running", "completed", "stopped-early", "interrupted", "failed"]),
  resumedFrom: z.array(z.strictObject({ step: z.int().min(0), at: time })).describe("Every resumption, in order."),
  environment: z.strictObject({
    tunesmith: z.string(),
    node: z.string().optional(),
    onnxruntime: z.string(),
    platform: z.string().describe("Operating system and processor architecture, for instance linux-x64."),
    processor: z.string().optional(),
    cores: z.int().positive().optional(),
    memoryBytes: z.number().positive().optional(),
    device: z.string(),
  }),
  data: z.array(
    z.strictObject({
      split: z.enum(["train", "validation", "test"]),
      file: z.string(),
      sha256,
      bytes: z.int().min(0),
      rows: z.int().min(0),
    }),
  ),
  weights: z.array(hashedFile).describe("The base model's files."),
  lineage: z
    .array(z.strictObject({ run: z.string().describe("Folder of the run."), weights: z.array(hashedFile).describe("What it left.") }))
    .default([])
    .describe("The runs that this one continues, oldest first."),
  results: z.record(z.string(), z.number().nullable()).describe("Last and held-out metrics; null where there is no number."),
});

export type Manifest = z.output<typeof manifestSchema>;

/** A manifest as text: the same manifest gives the same bytes, files in the order of their names.
 * @throws Error if it does not fit the schema */
export function serializeManifest(manifest: Manifest): string {
  const byFile = (a: { file: string }, b: { file: string }): number => (a.file < b.file ? -1 : a.file > b.file ? 1 : 0);
  const results = Object.fromEntries(
    Object.entries(manifest.results).map(([name, value]) => [name, Number.isFinite(value) ? value : null]),
  );
  const checked = manifestSchema.parse({ ...manifest, results });
  return `${JSON.stringify({ ...checked, data: checked.data.sort(byFile), weights: checked.weights.sort(byFile) }, null, 2)}\n`;
}

/** @throws CheckpointError, naming every field that does not fit, if the text is no manifest */
export function parseManifest(text: string, file = "manifest.json"): Manifest {
  let raw: unknown;
  try {
    raw = JSON.parse(text);
  } catch (cause) {
    throw new CheckpointError(
      `${file} is not JSON: ${(cause as Error).message}. Restore the file, or start the run again in a new folder.`,
      { cause },
    );
  }
  const result = manifestSchema.safeParse(raw);
  if (result.success) return result.data;
  const problems = result.error.issues.map((issue) => `${issue.path.join(".") || "whole file"}: ${issue.message}`);
  throw new CheckpointError(
    `${file} is not a run's manifest: ${problems.join("; ")}. It was edited, or another version of Tunesmith wrote it.`,
  );
}

/** What differs between the inputs that a run began with and those that it would continue with; empty if nothing. */
export function changedInputs(before: Pick<Manifest, "data" | "weights">, now: Pick<Manifest, "data" | "weights">): string[] {
  const hashes = ({ data, weights }: typeof before): Map<string, string> =>
    new Map([...data, ...weights].map((entry) => [entry.file, entry.sha256]));
  const [old, fresh] = [hashes(before), hashes(now)];
  return [...new Set([...old.keys(), ...fresh.keys()])].sort().flatMap((file) => {
    if (old.get(file) === fresh.get(file)) return [];
    if (!fresh.has(file)) return [`${file} is no longer there`];
    return [old.has(file) ? `${file} has changed` : `${file} is new`];
  });
}
