/** A checkpoint opened for use: model, tokenizer, method, parameters in memory, on one backend. */

import type { Backend } from "../backends/backend.ts";
import { whyNoInt8 } from "../backends/trials.ts";
import type { Folder } from "../base/byte-source.ts";
import { CheckpointError, ConfigError } from "../base/errors.ts";
import { createRandom } from "../base/random.ts";
import type { Batch } from "../data/batch.ts";
import { loadTokenizer, type Tokenizer } from "../data/tokenizers/tokenizer.ts";
import { forTask } from "../methods/for-task.ts";
import type { AttachedMethod, Method, MethodTarget } from "../methods/method.ts";
import { createModel } from "../models/families/registry.ts";
import {
  type HeadChoice,
  headParameters,
  initialiseHead,
  isNew,
  missingParameters,
  withLabelHead,
  withNewModules,
} from "../models/label-heads.ts";
import type { Model } from "../models/model.ts";
import type { ParameterSpec } from "../models/segment-builder.ts";
import { describeModel } from "../models/segments.ts";
import { type Checkpoint, checkTensors, findTensor, openCheckpoint } from "../models/weights/checkpoint.ts";
import { fingerprint } from "../models/weights/fingerprint.ts";
import type { Grouping } from "../optimizers/settings/parameter-groups.ts";
import { observeInputs } from "./layer-inputs.ts";
import type { Adapter } from "./weights/adapter-files.ts";
import { stackAdapters } from "./weights/adapter-stack.ts";
import { type BaseRecord, checkBase } from "./weights/base-record.ts";
import { type WeightSource, weightsOf } from "./weights/checkpoint-weights.ts";
import { loadParameters, type ParameterStore } from "./weights/parameter-store.ts";
import { checkFreezesBase, openQuantisedBase, type QuantisedCache, type QuantizationConfig } from "./weights/quantised-base.ts";

export interface LoadedModel {
  readonly backend: Backend;
  readonly checkpoint: Checkpoint;
  readonly model: Model;
  readonly tokenizer: Tokenizer;
  readonly method: AttachedMethod;
  readonly store: ParameterStore;
  /** Recorded beside an adapter that is trained on this base. */
  readonly base: BaseRecord;
  /** Parameters that the checkpoint does not hold, which began at random: those of a new head. An adapter holds them. */
  readonly fresh: readonly string[];
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
  /** Batches of the training data, for methods whose start is found in them. */
  trainingBatches?(base: Pick<LoadedModel, "model" | "tokenizer">): readonly Batch[];
  readonly seed?: number;
  /** What it is to compute in: with float16, frozen matrices are held so. float32 where absent. */
  readonly precision?: "float32" | "float16" | undefined;
  /** Holds the frozen weights of linear layers as codes. Where absent: as when the adapter was trained. */
  readonly quantization?: QuantizationConfig | undefined;
  readonly quantisedCache?: QuantisedCache | undefined;
  /** Of what is trained; see ParameterGroup. */
  readonly grouping?: Grouping;
  /** What the model is for; it is a language model where absent. */
  readonly task?: OpenedTask;
}

export interface OpenedTask {
  /** Stands on the model instead of the vocabulary. */
  readonly head?: HeadChoice;
  readonly peftTaskType: string;
}

/** A method that trains nothing: the model as it is. */
export const untouched: AttachedMethod = { hooks: {}, added: [], trains: () => false };

/** The same model without its method. */
export const withoutMethod = (loaded: LoadedModel): LoadedModel => ({ ...loaded, method: untouched });

/** @throws CheckpointError if files are missing, damaged or contradict config.json, or an adapter was made for another base;
 * UnsupportedError for an unknown family */
export async function openModel(options: OpenModelOptions): Promise<LoadedModel> {
  const { folder, backend, method, adapter, adapters, seed = 0, grouping, task = { peftTaskType: "CAUSAL_LM" } } = options;
  const checkpoint = await openCheckpoint(folder);
  const bare = createModel(checkpoint.config, { holds: (tensor) => findTensor(checkpoint, tensor) !== undefined });
  const chosenHead = task.head ? withLabelHead(bare, task.head) : bare;
  const fresh = missingParameters(chosenHead, (name) => findTensor(checkpoint, name) !== undefined);
  const model = withNewModules(chosenHead, fresh);
  const description = describeModel(model);
  checkHead(checkpoint, model);
  checkTensors(
    checkpoint,
    description.parameters.filter((spec) => !fresh.some(({ name }) => name === spec.name)),
  );
  const tokenizer = await loadTokenizer(folder);
  const source = withFresh(weightsOf(checkpoint), { fresh, config: checkpoint.config, seed });
  const put = adapters ?? (adapter ? [adapter] : []);
  const quantization = options.quantization ?? sharedQuantization(put);
  const base: BaseRecord = { name: folder.name, fingerprint: await fingerprint(checkpoint), ...(quantization && { quantization }) };
  for (const { name, base: recorded } of put) checkBase(name, { recorded, base });
  if (quantization?.compute === "int8") await checkInt8(backend);
  const linears = description.linears.filter(({ module }) => !isNew(model, module));
  const quantised =
    quantization && (await openQuantisedBase({ config: quantization, linears, source, folder, cache: options.quantisedCache }));
  const target: MethodTarget = { model, ...description, linears, tokenizer, ...(quantised && { quantised }) };
  const chosen = adapter ?? method;
  const held =
    options.precision === "float16"
      ? { storable: [...backend.storable, "float16" as const], frozenMatricesIn: "float16" as const }
      : { storable: backend.storable };
  const loading = { specs: description.parameters, source, ...held, quantised };
  const bareStore =
    !adapter && method?.method.readsData?.(method.config)
      ? await loadParameters({ ...loading, method: untouched, random: createRandom(seed) })
      : undefined;
  const attach = async ({ method: of, config }: NonNullable<typeof chosen>): Promise<AttachedMethod> => {
    if (!bareStore) return of.attach(target, config);
    const batches = options.trainingBatches!({ model, tokenizer });
    return of.attachToData!(target, config, await observeInputs({ backend, model, store: bareStore, linears, batches }));
  };
  const single = chosen ? forTask(await attach(chosen), { model, peftTaskType: task.peftTaskType }) : untouched;
  if (quantization && method) checkFreezesBase(single, { method: method.method, linears });
  const attached = adapters ? await stackAdapters(target, { adapters, source }) : single;
  const store = await loadParameters({
    ...{ ...loading, method: attached, random: createRandom(seed), grouping },
    ...(bareStore && { loaded: bareStore.parameters }),
  });
  adapter?.loadInto(store, attached);
  return { backend, checkpoint, model, tokenizer, method: attached, store, base, fresh: fresh.map(({ name }) => name) };
}

/** @throws ConfigError if products of 8-bit integers overflow on this processor */
async function checkInt8(backend: Backend): Promise<void> {
  const why = await whyNoInt8(backend);
  if (why)
    throw new ConfigError(
      `quantization.compute: int8 needs a processor that adds up products of 8-bit integers exactly (VNNI on x86); the device ${backend.name} does not: ${why}. Leave quantization.compute out: the weights stay in 8 bits and are decoded for each product.`,
    );
}

/** How the base was held when all of these adapters were trained; as in the checkpoint where they differ. */
function sharedQuantization(adapters: readonly Adapter[]): QuantizationConfig | undefined {
  const [first, ...others] = adapters.map(({ base }) => base?.quantization);
  return others.every((other) => JSON.stringify(other) === JSON.stringify(first)) ? first : undefined;
}

/** @throws CheckpointError if the checkpoint's head is for another number of labels than the task */
function checkHead(checkpoint: Checkpoint, { labelHead, ...model }: Model): void {
  if (!labelHead) return;
  for (const { name, shape } of headParameters({ ...model, labelHead })) {
    const found = findTensor(checkpoint, name)?.shape;
    if (found && found.length === shape.length && found[0] !== shape[0] && shape[0] === labelHead.numLabels)
      throw new CheckpointError(
        `${checkpoint.name}: the head is for ${found[0]} labels (${name} is [${found.join(", ")}]); the task ${labelHead.name} has ${labelHead.numLabels}. Name the labels of the checkpoint in task.labels, correct the rows, or start from the model without this head.`,
      );
  }
}

interface FreshParameters {
  readonly fresh: readonly ParameterSpec[];
  readonly config: Readonly<Record<string, unknown>>;
  readonly seed: number;
}

/** A checkpoint with the parameters of a new head, each from a stream of its own, so that their order does not matter. */
function withFresh(source: WeightSource, { fresh, config, seed }: FreshParameters): WeightSource {
  const deviation = typeof config.initializer_range === "number" ? config.initializer_range : 0.02;
  const values = new Map(fresh.map((spec, i) => [spec.name, initialiseHead(spec, createRandom(seed * 1009 + i), deviation)]));
  return {
    ...source,
    dtypeOf: (name) => (values.has(name) ? "float32" : source.dtypeOf(name)),
    readFloat32: async (name) => values.get(name) ?? source.readFloat32(name),
  };
}
