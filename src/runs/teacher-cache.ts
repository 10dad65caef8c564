/** A teacher's likeliest predictions in the run's folder: made before the first step, or found from an earlier attempt. */
import { ConfigError } from "../base/errors.ts";
import { formatBytes } from "../base/units.ts";
import type { TokenizedExample } from "../data/batch.ts";
import type { LoadedModel } from "../execution/loaded-model.ts";
import { ReferencePass } from "../execution/reference-pass.ts";
import {
  blankPredictions,
  encodeTopPredictions,
  indexDocuments,
  openTopPredictions,
  type TopPredictions,
  type TopSettings,
} from "../execution/top-predictions.ts";
import type { RunConfig } from "./config.ts";
import type { RunEnvironment } from "./environment.ts";
import { openReference, type TeacherConfig } from "./reference.ts";

export interface TeacherCache {
  /** Blank until `fill` has been called. */
  readonly predictions: TopPredictions;
  fill(onNotice: (message: string) => void): Promise<void>;
}

export interface TeacherCacheOptions {
  readonly settings: TopSettings;
  readonly config: RunConfig;
  readonly loaded: LoadedModel;
  readonly environment: RunEnvironment;
  /** All that is trained on. */
  readonly examples: readonly TokenizedExample[];
  readonly maxLength: number;
}

/** @throws ConfigError if k is above the size of the vocabulary */
export function createTeacherCache({ settings, config, loaded, environment, examples, maxLength }: TeacherCacheOptions): TeacherCache {
  const { k } = settings;
  const { vocabSize } = loaded.model;
  if (k > vocabSize) throw new ConfigError(`objective.topK: ${k} is above the ${vocabSize} tokens of the vocabulary. 32 to 128 is usual.`);
  let current = blankPredictions(k);
  const { index, documents } = indexDocuments(examples);

  async function fill(onNotice: (message: string) => void): Promise<void> {
    const folder = environment.openRunFolder(config.output);
    const file = `teacher/${await cacheKey({ settings, config, environment, keys: [...index.firstOf.keys()] })}.safetensors`;
    if (!(await folder.has(file))) {
      const reference = await openReference(config.objective, { loaded, environment });
      const pass = new ReferencePass(reference, loaded.backend);
      const content = encodeTopPredictions({ pass, backend: loaded.backend, settings, documents, tokensAtOnce: maxLength });
      onNotice(
        `asking the teacher for its ${k} likeliest tokens at ${index.targets} targets (once; ${formatBytes(index.targets * (8 * k + 8))} on disk)`,
      );
      await folder.write(file, content);
      await pass.dispose();
    }
    current = await openTopPredictions(await folder.open(file), { index, k });
  }

  return { predictions: { k, numbersOf: (batch) => current.numbersOf(batch), read: (numbers) => current.read(numbers) }, fill };
}

/** From the teacher's weights, the documents and what is asked of them. */
async function cacheKey({
  settings,
  config,
  environment,
  keys,
}: Pick<TeacherCacheOptions, "settings" | "config" | "environment"> & { keys: readonly string[] }): Promise<string> {
  const { teacher, teacherAdapter } = config.objective as unknown as TeacherConfig;
  const folders = [teacher, ...(teacherAdapter === undefined ? [] : [teacherAdapter])];
  const weights = [];
  for (const path of folders) weights.push(await environment.hashModelFiles(await environment.openModelFolder(path)));
  const text = new TextEncoder().encode(JSON.stringify({ weights, settings, keys }));
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", text));
  return [...hash.subarray(0, 8)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
