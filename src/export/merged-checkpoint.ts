/** A Hugging Face folder of the tuned model: the base's config and tokenizer files, and weights with the adapter folded in. */

import type { Folder } from "../base/byte-source.ts";
import { UnsupportedError } from "../base/errors.ts";
import type { FileContent } from "../base/folder-shelf.ts";
import { checkNotQuantised, mergedParameter } from "../execution/adapter-files.ts";
import type { LoadedModel } from "../execution/loaded-model.ts";
import { findTensor } from "../models/weights/checkpoint.ts";
import { bytesOf } from "../models/weights/element-types.ts";
import { float32ToBfloat16, float32ToFloat16 } from "../models/weights/half.ts";
import { encodeSafetensors, type TensorToWrite } from "../models/weights/safetensors.ts";
import { withLabelFields } from "./config-json.ts";

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

/** The configuration and tokenizer files of a checkpoint, as they are. */
export async function companionFiles(folder: Folder): Promise<Record<string, FileContent>> {
  const files: Record<string, FileContent> = {};
  for (const file of companions) if (await folder.has(file)) files[file] = bytesFrom(folder, file);
  return files;
}

/** As they are: not all of them are text. */
async function* bytesFrom(folder: Folder, file: string): AsyncGenerator<Uint8Array> {
  const source = await folder.open(file);
  yield await source.read(0, source.size);
}

export interface MergedOptions {
  /** `mergedParameter`, or `unmergedParameter` to take the adapter out of a merged checkpoint again. */
  readonly valuesOf?: typeof mergedParameter;
  /** Fields of config.json that say what the labels of the model's head mean. */
  readonly labels?: Readonly<Record<string, unknown>> | undefined;
  /** Fold into the rounded weights of a quantised base. */
  readonly dequantize?: boolean;
}

/** Every tensor keeps the element type it has in the base checkpoint.
 * @throws UnsupportedError if the method is no change of weights, or the base is quantised and `dequantize` is not given */
export async function mergedCheckpointFiles(
  loaded: LoadedModel,
  base: Folder,
  { valuesOf = mergedParameter, labels = {}, dequantize = false }: MergedOptions = {},
): Promise<Record<string, FileContent>> {
  const { checkpoint, model, store, method, fresh } = loaded;
  if (method.adapter && !method.adapter.merge)
    throw new UnsupportedError(
      "this adapter adds to what the model computes (virtual tokens or layers of its own), so there are no weights to fold it into. Export the adapter itself: --format peft.",
    );
  if (!dequantize) checkNotQuantised(store);
  const files = await companionFiles(base);
  if (model.labelHead) {
    const config = withLabelFields(JSON.parse(await base.readText("config.json")), { head: model.labelHead.name, fields: labels });
    files["config.json"] = `${JSON.stringify(config, null, 2)}\n`;
  }
  const tensors = new Map<string, TensorToWrite>();
  for (const { spec } of store.parameters.values()) {
    const entry = findTensor(checkpoint, spec.name);
    if (!entry && !fresh.includes(spec.name)) continue; // the adapter's own parameters
    const dtype = entry?.dtype === "F16" || entry?.dtype === "BF16" ? entry.dtype : "F32";
    tensors.set(spec.name, {
      dtype,
      shape: spec.shape,
      async read() {
        const { data } = valuesOf({ name: spec.name, store, method });
        return bytesOf(dtype === "F16" ? float32ToFloat16(data) : dtype === "BF16" ? float32ToBfloat16(data) : data);
      },
    });
  }
  files["model.safetensors"] = encodeSafetensors(new Map([...tensors].sort(([a], [b]) => (a < b ? -1 : 1))));
  return files;
}
