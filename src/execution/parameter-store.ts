/**
 * Where parameters live. Frozen ones keep the checkpoint's element type or are codes, one copy. Trained ones are float32 and stand
 * side by side in two flat vectors, with and without weight decay; parameters, gradients and optimizer state are views
 * into flat vectors, so that clipping and the optimizer see one long vector instead of hundreds of small ones.
 */

import type { HostTensor } from "../backends/backend.ts";
import { CheckpointError } from "../base/errors.ts";
import type { Random } from "../base/random.ts";
import type { AttachedMethod, ParameterData } from "../methods/method.ts";
import type { ParameterSpec } from "../models/segment-builder.ts";
import { float32, namedTensors, type ParameterStorage, plain, type StoredTensors } from "../models/storage.ts";
import { type DType, isFloat } from "../tensor/dtype.ts";
import type { WeightSource } from "./checkpoint-weights.ts";
import type { QuantisedBase } from "./quantised-base.ts";

export interface StoredParameter extends StoredTensors<HostTensor> {
  readonly spec: ParameterSpec;
  readonly storage: ParameterStorage;
  /** Gradient accumulator, same length; only for trained parameters. */
  readonly gradient?: Float32Array;
}

/** One flat vector of trained parameters. */
export interface ParameterGroup {
  readonly decays: boolean;
  /** Learning rate as a multiple of the run's. */
  readonly learningRateFactor: number;
  readonly parameters: Float32Array;
  readonly gradients: Float32Array;
  /** Where each parameter starts, in order. */
  readonly layout: ReadonlyMap<string, { readonly offset: number; readonly length: number }>;
}

export interface ParameterStore {
  readonly parameters: ReadonlyMap<string, StoredParameter>;
  readonly groups: readonly ParameterGroup[];
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
  /** Holds frozen weights of linear layers as codes. */
  readonly quantised?: QuantisedBase | undefined;
}

export async function loadParameters(options: LoadParametersOptions): Promise<ParameterStore> {
  const { specs, method, source, random } = options;
  const all = [...specs, ...method.added];
  const trained = all.filter(({ name }) => method.trains(name));
  const groups = createGroups(trained, method);
  const base = async (name: string) => ({ shape: specs.find((spec) => spec.name === name)!.shape, data: await source.readFloat32(name) });
  const parameters = new Map<string, StoredParameter>();
  const held = async (name: string) => readParameter(parameters.get(name)!);
  let frozenBytes = 0;
  for (const spec of all) {
    const added = method.added.find(({ name }) => name === spec.name);
    const group = groups.find(({ layout }) => layout.has(spec.name));
    if (group) {
      const { offset, length } = group.layout.get(spec.name)!;
      const data = group.parameters.subarray(offset, offset + length);
      data.set(added ? await added.initialise(random, base, held) : await source.readFloat32(spec.name));
      const gradient = group.gradients.subarray(offset, offset + length);
      parameters.set(spec.name, { spec, storage: float32, tensor: { dtype: "float32", dims: spec.shape, data }, gradient });
    } else {
      const made = await (added ? added.initialise(random, base, held) : method.changedBase?.get(spec.name)?.(base, random));
      const stored = await loadFrozen(spec, { ...options, made });
      for (const { data } of Object.values(namedTensors(spec.name, stored))) frozenBytes += data.byteLength;
      parameters.set(spec.name, { spec, ...stored });
    }
  }
  return { parameters, groups, frozenBytes, trainedBytes: groups.reduce((sum, group) => sum + 2 * group.parameters.byteLength, 0) };
}

/** No decay on norms and biases, as is usual since GPT-2. */
const decaysWeight = ({ kind }: ParameterSpec): boolean => kind !== "norm" && kind !== "bias";

/** One vector for each pair of decay and learning rate that occurs. */
function createGroups(trained: readonly ParameterSpec[], method: AttachedMethod): ParameterGroup[] {
  const factorOf = ({ name }: ParameterSpec): number => method.learningRateFactor?.(name) ?? 1;
  const factors = [...new Set(trained.map(factorOf))];
  return [true, false].flatMap((decays) =>
    factors.flatMap((learningRateFactor) => {
      const specs = trained.filter((spec) => decaysWeight(spec) === decays && factorOf(spec) === learningRateFactor);
      return specs.length > 0 ? [createGroup(specs, { decays, learningRateFactor })] : [];
    }),
  );
}

function createGroup(specs: readonly ParameterSpec[], of: Pick<ParameterGroup, "decays" | "learningRateFactor">): ParameterGroup {
  const layout = new Map<string, { offset: number; length: number }>();
  let size = 0;
  for (const { name, shape } of specs) {
    const length = shape.reduce((product, n) => product * n, 1);
    layout.set(name, { offset: size, length });
    size += length;
  }
  return { ...of, parameters: new Float32Array(size), gradients: new Float32Array(size), layout };
}

interface FrozenOptions extends Pick<LoadParametersOptions, "source" | "storable" | "quantised"> {
  /** Values that the method gives it, instead of the checkpoint's. */
  readonly made: Float32Array | undefined;
}

async function loadFrozen(
  spec: ParameterSpec,
  { source, storable, quantised, made }: FrozenOptions,
): Promise<Omit<StoredParameter, "spec" | "gradient">> {
  const { name, shape } = spec;
  const storage = quantised?.storageOf(name);
  if (storage) return { storage, ...(made ? storage.quantise(made, shape) : await quantised!.read(name)) };
  if (made) return { storage: float32, tensor: { dtype: "float32", dims: shape, data: made } };
  const dtype = source.dtypeOf(name);
  if (!isFloat(dtype)) throw new CheckpointError(`${name} is stored as ${dtype}; expected float32, float16 or bfloat16.`);
  if (dtype === "float32" || !storable.includes(dtype))
    return { storage: float32, tensor: { dtype: "float32", dims: shape, data: await source.readFloat32(name) } };
  const data = new Uint16Array(shape.reduce((product, n) => product * n, 1));
  await source.readInto(name, new Uint8Array(data.buffer));
  return { storage: plain(dtype), tensor: { dtype, dims: shape, data } };
}
