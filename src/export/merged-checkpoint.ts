/** A Hugging Face folder of the tuned model: the base's config and tokenizer files, and weights with the adapter folded in. */

import type { Folder } from "../base/byte-source.ts";
import { UnsupportedError } from "../base/errors.ts";
import type { FileContent } from "../base/folder-shelf.ts";
import { float32ToBfloat16, float32ToFloat16 } from "../base/half.ts";
import type { LoadedModel } from "../execution/loaded-model.ts";
import { checkNotQuantised, mergedParameter } from "../execution/weights/adapter-files.ts";
import type { ParameterStore } from "../execution/weights/parameter-store.ts";
import type { Model } from "../models/model.ts";
import type { ParameterSpec } from "../models/segment-builder.ts";
import { findTensor, readFloat32 } from "../models/weights/checkpoint.ts";
import { bytesOf } from "../models/weights/element-types.ts";
import { encodeSafetensors, type TensorToWrite } from "../models/weights/safetensors.ts";
import type { DType } from "../tensor/dtype.ts";
import { encodeConfig, withLabelFields, withWordHead } from "./config-json.ts";

/** Files beside the weights that belong to a model. */
const companions = [
  "config.json",
  "generation_config.json",
  "tokenizer.json",
  "tokenizer_config.json",
  "special_tokens_map.json",
  "added_tokens.json",
  "vocab.json",
  "merges.txt",
  "vocab.txt",
  "tokenizer.model",
  "spiece.model",
  "chat_template.jinja",
];

/** Fields of config.json that say what the labels of a model's head mean. */
export type LabelFields = Readonly<Record<string, unknown>>;

/** The configuration and tokenizer files of a checkpoint; config.json names the class of the head that stands on the model now. */
export async function companionFiles(
  folder: Folder,
  { labelHead, newModules }: Pick<Model, "labelHead" | "newModules"> = {},
  labels: LabelFields = {},
): Promise<Record<string, FileContent> & { readonly "config.json": string }> {
  const files: Record<string, FileContent> & { "config.json": string } = { "config.json": await folder.readText("config.json") };
  for (const file of companions)
    if (await folder.has(file)) files[file] = file.endsWith(".model") ? bytesOfFile(folder, file) : await folder.readText(file);
  if (!newModules) return files;
  const given = JSON.parse(files["config.json"]) as Record<string, unknown>;
  const config = labelHead ? withLabelFields(given, { head: labelHead.name, fields: labels }) : withWordHead(given);
  return { ...files, "config.json": encodeConfig(config, files["config.json"]) };
}

/** A sentencepiece model is no text. */
async function* bytesOfFile(folder: Folder, file: string): AsyncGenerator<Uint8Array> {
  const source = await folder.open(file);
  yield await source.read(0, source.size);
}

export interface MergedOptions {
  /** `mergedParameter`, or `unmergedParameter` to take the adapter out of a merged checkpoint again. */
  readonly valuesOf?: typeof mergedParameter;
  readonly labels?: LabelFields | undefined;
  /** Fold into the rounded weights of a quantised base. */
  readonly dequantize?: boolean;
}

/** Every tensor keeps the element type it has in the base checkpoint.
 * @throws UnsupportedError if the method is no change of weights, or the base is quantised and `dequantize` is not given */
export async function mergedCheckpointFiles(
  loaded: Pick<LoadedModel, "checkpoint" | "model" | "store" | "method" | "fresh">,
  base: Folder,
  { valuesOf = mergedParameter, labels, dequantize = false }: MergedOptions = {},
): Promise<Record<string, FileContent>> {
  const { checkpoint, model, store, method, fresh } = loaded;
  if (method.adapter && !method.adapter.merge)
    throw new UnsupportedError(
      "this adapter adds to what the model computes (virtual tokens or layers of its own), so there are no weights to fold it into. Export the adapter itself: --format peft.",
    );
  if (!dequantize) checkNotQuantised(store);
  await store.trained.onHost();
  const files: Record<string, FileContent> = await companionFiles(base, model, labels);
  const tensors = new Map<string, TensorToWrite>();
  for (const { spec } of store.parameters.values()) {
    const entry = findTensor(checkpoint, spec.name);
    if (!entry && !fresh.includes(spec.name)) continue; // the adapter's own parameters
    const dtype = entry?.dtype === "F16" || entry?.dtype === "BF16" ? entry.dtype : "F32";
    // Frozen, and held in float16 for the time of the training.
    const isRounded = !method.adapter && dtype !== "F16" && storageTypeOf(store, spec) === "float16";
    tensors.set(spec.name, {
      dtype,
      shape: spec.shape,
      async read() {
        const { data } = isRounded ? { data: await readFloat32(checkpoint, spec.name) } : valuesOf({ name: spec.name, store, method });
        return bytesOf(dtype === "F16" ? float32ToFloat16(data) : dtype === "BF16" ? float32ToBfloat16(data) : data);
      },
    });
  }
  files["model.safetensors"] = encodeSafetensors(new Map([...tensors].sort(([a], [b]) => (a < b ? -1 : 1))));
  return files;
}

const storageTypeOf = ({ parameters }: Pick<ParameterStore, "parameters">, { name, shape }: ParameterSpec): DType =>
  parameters.get(name)!.storage.types(shape).tensor.dtype;
