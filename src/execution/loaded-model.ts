/** A checkpoint opened for use: model, tokenizer, method, parameters in memory, on one backend. */

import type { Backend } from "../backends/backend.ts";
import type { Folder } from "../base/byte-source.ts";
import { createRandom } from "../base/random.ts";
import { loadTokenizer, type Tokenizer } from "../data/tokenizers/tokenizer.ts";
import type { AttachedMethod, Method } from "../methods/method.ts";
import { createModel } from "../models/families/registry.ts";
import type { Model } from "../models/model.ts";
import { describeModel } from "../models/segments.ts";
import { type Checkpoint, checkTensors, openCheckpoint } from "../models/weights/checkpoint.ts";
import type { Grouping } from "../optimizers/settings/parameter-groups.ts";
import type { Adapter } from "./adapter-files.ts";
import { stackAdapters } from "./adapter-stack.ts";
import { weightsOf } from "./checkpoint-weights.ts";
import { loadParameters, type ParameterStore } from "./parameter-store.ts";

export interface LoadedModel {
  readonly backend: Backend;
  readonly checkpoint: Checkpoint;
  readonly model: Model;
  readonly tokenizer: Tokenizer;
  readonly method: AttachedMethod;
  readonly store: ParameterStore;
}

export interface OpenModelOptions {
  readonly folder: Folder;
  readonly backend: Backend;
  /** What is trained; nothing where absent. */
  readonly method?: { readonly method: Method; readonly config: unknown };
  /** An adapter to put on the base; brings its own method. */
  readonly adapter?: Adapter;
  /** Several LoRA adapters at once; the decoder's `reset` says which acts. */
  readonly adapters?: readonly Adapter[];
  readonly seed?: number;
  /** Of what is trained; see ParameterGroup. */
  readonly grouping?: Grouping;
}

/** A method that trains nothing: the model as it is. */
export const untouched: AttachedMethod = { hooks: {}, added: [], trains: () => false };

/** The same model without its method. */
export const withoutMethod = (loaded: LoadedModel): LoadedModel => ({ ...loaded, method: untouched });

/** @throws CheckpointError if files are missing, damaged or contradict config.json; UnsupportedError for an unknown family */
export async function openModel({
  folder,
  backend,
  method,
  adapter,
  adapters,
  seed = 0,
  grouping,
}: OpenModelOptions): Promise<LoadedModel> {
  const checkpoint = await openCheckpoint(folder);
  const model = createModel(checkpoint.config);
  const description = describeModel(model);
  checkTensors(checkpoint, description.parameters);
  const tokenizer = await loadTokenizer(folder);
  const target = { model, ...description, tokenizer };
  const source = weightsOf(checkpoint);
  const chosen = adapter ?? method;
  const single = chosen ? chosen.method.attach(target, chosen.config) : untouched;
  const attached = adapters ? await stackAdapters(target, { adapters, source }) : single;
  const store = await loadParameters({
    specs: description.parameters,
    method: attached,
    source,
    random: createRandom(seed),
    storable: backend.storable,
    grouping,
  });
  adapter?.loadInto(store, attached);
  return { backend, checkpoint, model, tokenizer, method: attached, store };
}
