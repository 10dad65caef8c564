/**
 * Which base an adapter was trained on: tunesmith.json in the adapter's folder, beside PEFT's files, which other programs ignore.
 * With it an adapter that is put on another base of the same shapes is noticed, and a quantised base is held again as it was.
 */
import type { Folder } from "../../base/byte-source.ts";
import { CheckpointError } from "../../base/errors.ts";
import { readJson } from "../../models/weights/checkpoint.ts";
import type { QuantizationConfig } from "./quantised-base.ts";

export const recordFile = "tunesmith.json";

export interface BaseRecord {
  /** Folder or hub name, for messages. */
  readonly name: string;
  readonly fingerprint: string;
  readonly quantization?: QuantizationConfig;
}

export const encodeRecord = (base: BaseRecord): string => `${JSON.stringify({ formatVersion: 1, base }, null, 2)}\n`;

/** Undefined where the adapter has no record: it was made elsewhere. */
export async function readRecord(folder: Folder): Promise<BaseRecord | undefined> {
  if (!(await folder.has(recordFile))) return undefined;
  const { base } = (await readJson(folder, recordFile)) as { base?: Partial<BaseRecord> };
  if (typeof base?.fingerprint !== "string")
    throw new CheckpointError(
      `${folder.name}/${recordFile} does not say which base the adapter belongs to. Delete the file to load it unchecked.`,
    );
  return base as BaseRecord;
}

/** @throws CheckpointError if the adapter was trained on other weights */
export function checkBase(adapter: string, { recorded, base }: { recorded: BaseRecord | undefined; base: BaseRecord }): void {
  if (!recorded || recorded.fingerprint === base.fingerprint) return;
  throw new CheckpointError(
    `${adapter}: the adapter was trained on ${recorded.name} (weights ${recorded.fingerprint.slice(0, 12)}), and ${base.name} has other weights (${base.fingerprint.slice(0, 12)}). Use the base it was trained on, or delete ${recordFile} in the adapter's folder to load it all the same.`,
  );
}
