/**
 * Where parameters live. Frozen ones keep the checkpoint's element type or are codes, one copy. Trained ones are float32 and stand
 * side by side in two flat vectors, with and without weight decay; parameters, gradients and optimizer state are views
 * into flat vectors, so that clipping and the optimizer see one long vector instead of hundreds of small ones. That is so in the host's
 * memory; where training runs on a device with memory of its own, they move there (trained-tensors.ts).
 */

import type { HostTensor } from "../../backends/backend.ts";
import { mostElements, VectorMemory } from "../../backends/wasm/vector-memory.ts";
import { CheckpointError } from "../../base/errors.ts";
import { float32ToBfloat16, float32ToFloat16, largestFloat16 } from "../../base/half.ts";
import type { Random } from "../../base/random.ts";
import type { AttachedMethod, ParameterData } from "../../methods/method.ts";
import type { ParameterSpec } from "../../models/segment-builder.ts";
import { float32, namedTensors, type ParameterStorage, plain, type StoredTensors } from "../../models/storage.ts";
import type { Grouping, GroupSettings } from "../../optimizers/settings/parameter-groups.ts";
import { type DType, isFloat } from "../../tensor/dtype.ts";
import { count } from "../../tensor/ops/define.ts";
import type { WeightSource } from "./checkpoint-weights.ts";
import type { QuantisedBase } from "./quantised-base.ts";
import { TrainedTensors, type TrainedVectors } from "./trained-tensors.ts";

export interface StoredParameter extends StoredTensors<HostTensor> {
  readonly spec: ParameterSpec;
  readonly storage: ParameterStorage;
  /** Gradient accumulator, same length; only for trained parameters. */
  readonly gradient?: Float32Array;
}

/** One flat vector of trained parameters. */
export interface ParameterGroup extends GroupSettings {
  /** False for norms and biases, which the optimizer's own weight decay leaves alone. */
  readonly decays: boolean;
  readonly parameters: Float32Array;
  readonly gradients: Float32Array;
  /** Where the vectors lie. What is worked on together with them should lie there, too. */
  readonly memory: VectorMemory;
  /** Where each parameter starts, in order. */
  readonly layout: ReadonlyMap<string, { readonly offset: number; readonly length: number; readonly spec: ParameterSpec }>;
}

export interface ParameterStore {
  readonly parameters: ReadonlyMap<string, StoredParameter>;
  readonly groups: readonly ParameterGroup[];
  /** Where the trained weights and their gradients are; what stands in `parameters` and `groups` cannot be read while that is a device. */
  readonly weights: TrainedTensors;
  readonly gradients: TrainedTensors;
  /** The same for those who work on the groups' vectors. */
  readonly trained: TrainedVectors;
  /** Lets go of a parameter that stands elsewhere by now. */
  forget(parameter: string): void;
  /** Bytes of frozen weights, and of trained weights with their gradients. */
  readonly frozenBytes: number;
  readonly trainedBytes: number;
}

/** How the parameters of a store are held, by name. */
export const storageIn =
  ({ parameters }: Pick<ParameterStore, "parameters">) =>
  (name: string): ParameterStorage =>
    parameters.get(name)!.storage;

/** A parameter in float32, decoded where it is held as codes. */
export const readParameter = ({ spec, storage, ...stored }: StoredParameter): ParameterData => ({
  shape: spec.shape,
  data: storage.read(stored, spec.shape),
});

export interface LoadParametersOptions {
  readonly specs: readonly ParameterSpec[];
  readonly method: AttachedMethod;
  readonly source: WeightSource;
  readonly random: Random;
  /** Element types that the device computes with; frozen weights in any other are converted to float32 while loading. */
  readonly storable: readonly DType[];
  /** Converts frozen tensors of rank 2 and more, whatever the checkpoint holds; norms and biases are too small to matter. */
  readonly frozenMatricesIn?: "float16";
  /** Holds frozen weights of linear layers as codes. */
  readonly quantised?: QuantisedBase | undefined;
  /** Frozen parameters that are in memory already. */
  readonly loaded?: ReadonlyMap<string, StoredParameter>;
  /** Learning rates and weight decays of their own; none where absent. */
  readonly grouping?: Grouping | undefined;
}

export async function loadParameters(options: LoadParametersOptions): Promise<ParameterStore> {
  const { specs, method, source, random, grouping } = options;
  const all = [...specs, ...method.added];
  const trained = all.filter(({ name }) => method.trains(name));
  const flat = createGroups(trained, { method, settingsOf: grouping?.({ all, trained }) });
  const weights = new TrainedTensors(
    "trained weights",
    flat.map(({ parameters: data, layout }) => ({ data, layout })),
  );
  const gradients = new TrainedTensors(
    "gradients",
    flat.map(({ gradients: data, layout }) => ({ data, layout })),
  );
  const base = async (name: string) => ({ shape: specs.find((spec) => spec.name === name)!.shape, data: await source.readFloat32(name) });
  const parameters = new Map<string, StoredParameter>();
  const held = async (name: string) => readParameter(parameters.get(name)!);
  let frozenBytes = 0;
  for (const spec of all) {
    const added = method.added.find(({ name }) => name === spec.name);
    const group = flat.find(({ layout }) => layout.has(spec.name));
    if (group) {
      const { offset, length } = group.layout.get(spec.name)!;
      const data = group.parameters.subarray(offset, offset + length);
      data.set(added ? await added.initialise(random, base, held) : await source.readFloat32(spec.name));
      const tensor: HostTensor = { dtype: "float32", dims: spec.shape, data };
      const gradient = group.gradients.subarray(offset, offset + length);
      parameters.set(spec.name, {
        ...{ spec, storage: float32 },
        get tensor() {
          return weights.onHost(tensor);
        },
        get gradient() {
          return gradients.onHost(gradient);
        },
      });
    } else {
      const made = await (added ? added.initialise(random, base, held) : method.changedBase?.get(spec.name)?.(base, random));
      const stored = (made ? undefined : options.loaded?.get(spec.name)) ?? (await loadFrozen(spec, { ...options, made }));
      for (const { data } of Object.values(namedTensors(spec.name, stored))) frozenBytes += data.byteLength;
      parameters.set(spec.name, { ...stored, spec });
    }
  }
  const groups = flat.map((group): ParameterGroup => {
    const vectors = { parameters: group.parameters, gradients: group.gradients };
    return {
      ...group,
      get parameters() {
        return weights.onHost(vectors.parameters);
      },
      get gradients() {
        return gradients.onHost(vectors.gradients);
      },
    };
  });
  const vectors: TrainedVectors = {
    sizes: flat.map(({ parameters }) => parameters.length),
    async read() {
      await weights.copyToHost();
      return flat.map(({ parameters }) => parameters);
    },
    async onHost() {
      await weights.toHost();
      await gradients.toHost();
      return flat;
    },
  };
  return {
    ...{ parameters, groups, weights, gradients, trained: vectors, frozenBytes },
    forget: (parameter) => void parameters.delete(parameter),
    trainedBytes: flat.reduce((sum, group) => sum + 2 * group.parameters.byteLength, 0),
  };
}

/** No decay on norms and biases, as is usual since GPT-2. */
const decaysWeight = ({ kind }: ParameterSpec): boolean => kind !== "norm" && kind !== "bias";

/** One vector for each combination of decay and learning rate that occurs; several where it would not fit one memory. */
function createGroups(
  trained: readonly ParameterSpec[],
  { method, settingsOf }: { method: AttachedMethod; settingsOf: ((spec: ParameterSpec) => GroupSettings) | undefined },
): ParameterGroup[] {
  const members = new Map<string, { settings: GroupSettings & { decays: boolean }; specs: ParameterSpec[] }>();
  for (const decays of [true, false]) {
    for (const spec of trained.filter((spec) => decaysWeight(spec) === decays)) {
      const { learningRateFactor, weightDecay } = settingsOf?.(spec) ?? { learningRateFactor: 1 };
      const settings = {
        ...{ decays, learningRateFactor: learningRateFactor * (method.learningRateFactor?.(spec.name) ?? 1) },
        ...(weightDecay !== undefined && { weightDecay }),
      };
      const key = JSON.stringify(settings);
      if (!members.has(key)) members.set(key, { settings, specs: [] });
      members.get(key)!.specs.push(spec);
    }
  }
  return [...members.values()].flatMap(({ settings, specs }) => partsOf(specs).map((part) => createGroup(part, settings)));
}

/** Vectors of a group's size that its memory has room for: parameters, gradients, and the two that most optimizers keep. */
const vectorsTogether = 4;

/** Neighbours that fit one memory. A parameter that does not is alone. @param most elements */
export function partsOf<Spec extends Pick<ParameterSpec, "shape">>(
  specs: readonly Spec[],
  most = mostElements / vectorsTogether - 16,
): Spec[][] {
  const parts: Spec[][] = [];
  let size = 0;
  for (const spec of specs) {
    size += count(spec.shape);
    if (parts.length === 0 || size > most) {
      parts.push([]);
      size = count(spec.shape);
    }
    parts.at(-1)!.push(spec);
  }
  return parts;
}

function createGroup(specs: readonly ParameterSpec[], settings: GroupSettings & { decays: boolean }): ParameterGroup {
  const layout = new Map<string, { offset: number; length: number; spec: ParameterSpec }>();
  let size = 0;
  for (const spec of specs) {
    const length = count(spec.shape);
    layout.set(spec.name, { offset: size, length, spec });
    size += length;
  }
  const memory = new VectorMemory({ elements: vectorsTogether * size, vectors: vectorsTogether });
  return { ...settings, parameters: memory.vector(size), gradients: memory.vector(size), memory, layout };
}

interface FrozenOptions extends Pick<LoadParametersOptions, "source" | "storable" | "quantised" | "frozenMatricesIn"> {
  /** Values that the method gives it, instead of the checkpoint's. */
  readonly made: Float32Array | undefined;
}

async function loadFrozen(
  spec: ParameterSpec,
  { source, storable, quantised, frozenMatricesIn, made }: FrozenOptions,
): Promise<Omit<StoredParameter, "spec" | "gradient">> {
  const { name, shape, kind } = spec;
  const storage = quantised?.storageOf(name);
  if (storage) return { storage, ...(made ? storage.quantise(made, shape) : await quantised!.read(name)) };
  if (frozenMatricesIn && shape.length >= 2 && (made || isWiderThan(frozenMatricesIn, source.dtypeOf(name)))) {
    const data = toFloat16(name, made ?? (await source.readFloat32(name)));
    return { storage: plain("float16"), tensor: { dtype: "float16", dims: shape, data } };
  }
  if (made) return { storage: float32, tensor: { dtype: "float32", dims: shape, data: made } };
  const dtype = source.dtypeOf(name);
  if (!isFloat(dtype)) throw new CheckpointError(`${name} is stored as ${dtype}; expected float32, float16 or bfloat16.`);
  if (kind === "embedding" && quantised?.embeddings)
    return { storage: quantised.embeddings, ...quantised.embeddings.quantise(await source.readFloat32(name), shape) };
  if (kind === "embedding" && dtype === "float32" && quantised?.config.embeddings === "bfloat16" && storable.includes("bfloat16"))
    return {
      storage: plain("bfloat16"),
      tensor: { dtype: "bfloat16", dims: shape, data: float32ToBfloat16(await source.readFloat32(name)) },
    };
  if (dtype === "float32" || !storable.includes(dtype))
    return { storage: float32, tensor: { dtype: "float32", dims: shape, data: await source.readFloat32(name) } };
  const data = new Uint16Array(count(shape));
  await source.readInto(name, new Uint8Array(data.buffer));
  return { storage: plain(dtype), tensor: { dtype, dims: shape, data } };
}

const isWiderThan = (held: DType, stored: DType): boolean => stored !== held && isFloat(stored);

/** @throws CheckpointError if a number is beyond float16 */
function toFloat16(name: string, values: Float32Array): Uint16Array {
  const beyond = values.find((value) => Math.abs(value) > largestFloat16);
  if (beyond !== undefined)
    throw new CheckpointError(
      `${name} holds ${beyond}; float16 ends at ${largestFloat16}. Train this checkpoint with training.precision: float32.`,
    );
  return float32ToFloat16(values);
}
