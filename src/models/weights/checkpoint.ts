/** A Hugging Face checkpoint folder: config.json, generation_config.json and safetensors, single or sharded. */
import type { Folder } from "../../base/byte-source.ts";
import { CheckpointError, UnsupportedError } from "../../base/errors.ts";
import { nearestName } from "../../base/nearest-name.ts";
import type { ParameterSpec } from "../segment-builder.ts";
import { toFloat32 } from "./element-types.ts";
import { openSafetensors, readTensor, type SafetensorsFile, type TensorEntry } from "./safetensors.ts";
import { spellingsOf } from "./tensor-names.ts";

export type JsonObject = Readonly<Record<string, unknown>>;

export interface Checkpoint {
  readonly name: string;
  readonly config: JsonObject;
  readonly generationConfig: JsonObject;
  readonly tensors: ReadonlyMap<string, TensorEntry & { readonly file: SafetensorsFile }>;
  readonly totalBytes: number;
}

const singleFile = "model.safetensors";
const indexFile = "model.safetensors.index.json";

/** @throws CheckpointError if a file is missing or damaged; UnsupportedError if the weights are not safetensors */
export async function openCheckpoint(folder: Folder): Promise<Checkpoint> {
  const config = await readJson(folder, "config.json");
  const generationConfig = (await folder.has("generation_config.json")) ? await readJson(folder, "generation_config.json") : {};
  const files = await weightFiles(folder);
  const tensors = new Map<string, TensorEntry & { file: SafetensorsFile }>();
  let totalBytes = 0;
  for (const name of files) {
    const file = await openSafetensors(await folder.open(name));
    for (const [tensor, entry] of file.tensors) {
      tensors.set(tensor, { ...entry, file });
      totalBytes += entry.end - entry.begin;
    }
  }
  return { name: folder.name, config, generationConfig, tensors, totalBytes };
}

async function weightFiles(folder: Folder): Promise<string[]> {
  if (await folder.has(singleFile)) return [singleFile];
  if (await folder.has(indexFile)) {
    const map = (await readJson(folder, indexFile)).weight_map;
    if (typeof map !== "object" || map === null)
      throw new CheckpointError(`${folder.name}/${indexFile} has no "weight_map". Download it again.`);
    const files = [...new Set(Object.values(map as Record<string, string>))].sort();
    const missing: string[] = [];
    for (const file of files) if (!(await folder.has(file))) missing.push(file);
    if (missing.length > 0)
      throw new CheckpointError(
        `${folder.name}: ${missing.length} of ${files.length} shards are missing: ${missing.join(", ")}. Download them; ${indexFile} lists them.`,
      );
    return files;
  }
  const files = await folder.list();
  if (files.some((file) => file.endsWith(".bin") || file.endsWith(".pt") || file.endsWith(".pth"))) {
    throw new UnsupportedError(
      `${folder.name} holds weights only as pickled PyTorch files, which can run code when read. Convert them with save_pretrained(..., safe_serialization=True).`,
    );
  }
  throw new CheckpointError(
    `${folder.name} has neither ${singleFile} nor ${indexFile}; it holds ${files.slice(0, 10).join(", ") || "nothing"}. Name the folder of a Hugging Face checkpoint.`,
  );
}

export async function readJson(folder: Folder, file: string): Promise<JsonObject> {
  if (!(await folder.has(file))) throw new CheckpointError(`${folder.name} has no ${file}. Name the folder of a Hugging Face checkpoint.`);
  try {
    return JSON.parse(await folder.readText(file)) as JsonObject;
  } catch (error) {
    throw new CheckpointError(`${folder.name}/${file} is not valid JSON: ${(error as Error).message}. Download it again.`);
  }
}

/** Compares what config.json implies with what the files hold; all differences are reported at once.
 * @throws CheckpointError if a tensor is missing or has another shape */
export function checkTensors(checkpoint: Checkpoint, parameters: readonly ParameterSpec[]): void {
  const names = [...checkpoint.tensors.keys()];
  if (parameters.length > 0 && !parameters.some(({ name }) => findTensor(checkpoint, name)))
    throw new CheckpointError(
      `${checkpoint.name}: none of the ${parameters.length} tensors that config.json implies is in the file, with or without an outer module's name: expected ${listed(parameters.map(({ name }) => name))}; the file has ${listed(names) || "none"}. The weights belong to another model than config.json.`,
    );
  const problems: string[] = [];
  for (const { name, shape } of parameters) {
    const entry = findTensor(checkpoint, name);
    if (!entry) {
      const nearest = nearestName(name, names);
      problems.push(`${name} [${shape.join(", ")}] is missing${nearest ? ` (the nearest name in the file is ${nearest})` : ""}`);
    } else if (entry.shape.length !== shape.length || entry.shape.some((n, i) => n !== shape[i])) {
      problems.push(`${name} is [${entry.shape.join(", ")}] in the file, [${shape.join(", ")}] by config.json`);
    }
  }
  if (problems.length === 0) return;
  const shown = problems.slice(0, 12).map((problem) => `\n  - ${problem}`);
  const rest = problems.length > shown.length ? `\n  and ${problems.length - shown.length} more` : "";
  throw new CheckpointError(
    `${checkpoint.name}: the weights do not fit config.json:${shown.join("")}${rest}\nUse the config.json that was saved with these weights.`,
  );
}

const listed = (names: readonly string[]): string => `${names.slice(0, 3).join(", ")}${names.length > 3 ? " ..." : ""}`;

/** A tensor under one of the names that it may have in the file. */
export function findTensor({ tensors }: Checkpoint, name: string): (TensorEntry & { readonly file: SafetensorsFile }) | undefined {
  for (const spelling of spellingsOf(name)) {
    const found = tensors.get(spelling);
    if (found) return found;
  }
  return undefined;
}

/** A tensor's values as float32. @throws CheckpointError if it is missing or holds integers */
export async function readFloat32(checkpoint: Checkpoint, name: string): Promise<Float32Array> {
  const entry = findTensor(checkpoint, name);
  if (!entry) throw new CheckpointError(`${checkpoint.name}: tensor ${name} is missing.`);
  return toFloat32({ name, dtype: entry.dtype, bytes: await readTensor(entry.file, entry) });
}
