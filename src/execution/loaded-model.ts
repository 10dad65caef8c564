/** A checkpoint opened for use: model, tokenizer, method, parameters in memory, on one backend. */

import type { Backend } from "../backends/backend.ts";
import type { Folder } from "../base/byte-source.ts";
import { createRandom } from "../base/random.ts";
import { loadTokenizer, type Tokenizer } from "../data/tokenizers/tokenizer.ts";
import type { AttachedMethod, Method, MethodTarget } from "../methods/method.ts";
import { createModel } from "../models/families/registry.ts";
import type { Model } from "../models/model.ts";
import { describeModel } from "../models/segments.ts";
import { type Checkpoint, checkTensors, openCheckpoint } from "../models/weights/checkpoint.ts";
import { fingerprint } from "../models/weights/fingerprint.ts";
import type { Grouping } from "../optimizers/settings/parameter-groups.ts";
import type { Adapter } from "./adapter-files.ts";
import { stackAdapters } from "./adapter-stack.ts";
import { type BaseRecord, checkBase } from "./base-record.ts";
import { weightsOf } from "./checkpoint-weights.ts";
import { loadParameters, type ParameterStore } from "./parameter-store.ts";
import { checkFreezesBase, openQuantisedBase, type QuantisedCache, type QuantizationConfig } from "./quantised-base.ts";

export interface LoadedModel {
  readonly backend: Backend;
  readonly checkpoint: Checkpoint;
  readonly model: Model;
  readonly tokenizer: Tokenizer;
  readonly method: AttachedMethod;
  readonly store: ParameterStore;
  /** Recorded beside an adapter that is trained on this base. */
  readonly base: BaseRecord;
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
  /** Holds the frozen weights of linear layers as codes. Where absent: as when the adapter was trained. */
  readonly quantization?: QuantizationConfig | undefined;
  readonly quantisedCache?: QuantisedCache | undefined;
  /** Of what is trained; see ParameterGroup. */
  readonly grouping?: Grouping;
}

/** A method that trains nothing: the model as it is. */
export const untouched: AttachedMethod = { hooks: {}, added: [], trains: () => false };

/** The same model without its method. */
export const withoutMethod = (loaded: LoadedModel): LoadedModel => ({ ...loaded, method: untouched });

/** @throws CheckpointError if files are missing, damaged or contradict config.json, or an adapter was made for another base;
 * UnsupportedError for an unknown family */
export async function openModel(options: OpenModelOptions): Promise<LoadedModel> {
  const { folder, backend, method, adapter, adapters, seed = 0, grouping } = options;
  const checkpoint = await openCheckpoint(folder);
  const model = createModel(checkpoint.config);
  const description = describeModel(model);
  checkTensors(checkpoint, description.parameters);
  const tokenizer = await loadTokenizer(folder);
  const source = weightsOf(checkpoint);
  const put = adapters ?? (adapter ? [adapter] : []);
  const quantization = options.quantization ?? sharedQuantization(put);
  const base: BaseRecord = { name: folder.name, fingerprint: await fingerprint(checkpoint), ...(quantization && { quantization }) };
  for (const { name, base: recorded } of put) checkBase(name, { recorded, base });
  const quantised =
    quantization &&
    (await openQuantisedBase({ config: quantization, linears: description.linears, source, folder, cache: options.quantisedCache }));
  const target: MethodTarget = { model, ...description, tokenizer, ...(quantised && { quantised: quantised.roundTrip }) };
  const chosen = adapter ?? method;
  const single = chosen ? chosen.method.attach(target, chosen.config) : untouched;
  if (quantization && method) checkFreezesBase(single, { method: method.method, linears: description.linears });
  const attached = adapters ? await stackAdapters(target, { adapters, source }) : single;
  const store = await loadParameters({
    specs: description.parameters,
    method: attached,
    source,
    random: createRandom(seed),
    storable: backend.storable,
    quantised,
    grouping,
  });
  adapter?.loadInto(store, attached);
  return { backend, checkpoint, model, tokenizer, method: attached, store, base };
}

/** How the base was held when all of these adapters were trained; as in the checkpoint where they differ. */
function sharedQuantization(adapters: readonly Adapter[]): QuantizationConfig | undefined {
  const [first, ...others] = adapters.map(({ base }) => base?.quantization);
  return others.every((other) => JSON.stringify(other) === JSON.stringify(first)) ? first : undefined;
}
