/**
 * Where parameters live. Frozen ones keep the checkpoint's element type, one copy. Trained ones are float32 and stand
 * side by side in two flat vectors, with and without weight decay; parameters, gradients and optimizer state are views
 * into flat vectors, so that clipping and the optimizer see one long vector instead of hundreds of small ones.
 */

import type { HostTensor } from "../backends/backend.ts";
import { CheckpointError } from "../base/errors.ts";
import type { Random } from "../base/random.ts";
import type { AttachedMethod, ParameterData } from "../methods/method.ts";
import type { ParameterSpec } from "../models/segment-builder.ts";
import { float32, type ParameterStorage, plain, type StoredTensors } from "../models/storage.ts";
import type { Grouping, GroupSettings } from "../optimizers/settings/parameter-groups.ts";
import { type DType, isFloat } from "../tensor/dtype.ts";

/** Reads the weights of a checkpoint by name. */
export interface WeightSource {
  dtypeOf(name: string): DType;
  /** The stored bytes, in the stored element type. */
  readInto(name: string, target: Uint8Array): Promise<void>;
  readFloat32(name: string): Promise<Float32Array>;
}

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
  /** Where each parameter starts, in order. */
  readonly layout: ReadonlyMap<string, { readonly offset: number; readonly length: number; readonly spec: ParameterSpec }>;
}

export interface ParameterStore {
  readonly parameters: ReadonlyMap<string, StoredParameter>;
  readonly groups: readonly ParameterGroup[];
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
  /** Learning rates and weight decays of their own; none where absent. */
  readonly grouping?: Grouping | undefined;
}

export async function loadParameters({
  specs,
  method,
  source,
  random,
  storable,
  grouping,
}: LoadParametersOptions): Promise<ParameterStore> {
  const all = [...specs, ...method.added];
  const trained = all.filter(({ name }) => method.trains(name));
  const groups = createGroups(trained, { method, settingsOf: grouping?.({ all, trained }) });
  const base = async (name: string) => ({ shape: specs.find((spec) => spec.name === name)!.shape, data: await source.readFloat32(name) });
  const parameters = new Map<string, StoredParameter>();
  let frozenBytes = 0;
  for (const spec of all) {
    const added = method.added.find(({ name }) => name === spec.name);
    const group = groups.find(({ layout }) => layout.has(spec.name));
    if (group) {
      const { offset, length } = group.layout.get(spec.name)!;
      const data = group.parameters.subarray(offset, offset + length);
      data.set(added ? await added.initialise(random, base) : await source.readFloat32(spec.name));
      const gradient = group.gradients.subarray(offset, offset + length);
      parameters.set(spec.name, { spec, storage: float32, tensor: { dtype: "float32", dims: spec.shape, data }, gradient });
    } else {
      const made = added ? added.initialise(random, base) : method.changedBase?.get(spec.name)?.(base, random);
      const tensor = made
        ? { dtype: "float32" as const, dims: spec.shape, data: await made }
        : await loadFrozen({ spec, source, storable });
      frozenBytes += tensor.data.byteLength;
      parameters.set(spec.name, { spec, storage: plain(tensor.dtype), tensor });
    }
  }
  return {
    ...{ parameters, groups, frozenBytes },
    forget: (parameter) => void parameters.delete(parameter),
    trainedBytes: groups.reduce((sum, group) => sum + 2 * group.parameters.byteLength, 0),
  };
}

/** No decay on norms and biases, as is usual since GPT-2. */
const decaysWeight = ({ kind }: ParameterSpec): boolean => kind !== "norm" && kind !== "bias";

/** One vector for each combination of decay and learning rate that occurs. */
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
  return [...members.values()].map(({ settings, specs }) => createGroup(specs, settings));
}

function createGroup(specs: readonly ParameterSpec[], settings: GroupSettings & { decays: boolean }): ParameterGroup {
  const layout = new Map<string, { offset: number; length: number; spec: ParameterSpec }>();
  let size = 0;
  for (const spec of specs) {
    const length = spec.shape.reduce((product, n) => product * n, 1);
    layout.set(spec.name, { offset: size, length, spec });
    size += length;
  }
  return { ...settings, parameters: new Float32Array(size), gradients: new Float32Array(size), layout };
}

async function loadFrozen({
  spec,
  source,
  storable,
}: {
  spec: ParameterSpec;
  source: WeightSource;
  storable: readonly DType[];
}): Promise<HostTensor> {
  const dtype = source.dtypeOf(spec.name);
  if (!isFloat(dtype)) throw new CheckpointError(`${spec.name} is stored as ${dtype}; expected float32, float16 or bfloat16.`);
  if (dtype === "float32" || !storable.includes(dtype))
    return { dtype: "float32", dims: spec.shape, data: await source.readFloat32(spec.name) };
  const data = new Uint16Array(spec.shape.reduce((product, n) => product * n, 1));
  await source.readInto(spec.name, new Uint8Array(data.buffer));
  return { dtype, dims: spec.shape, data };
}
