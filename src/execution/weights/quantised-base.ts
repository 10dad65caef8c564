/**
 * The frozen weights of linear layers as codes. They are made from the checkpoint one weight at a time, so the float32 model
 * is never held, and kept on disk: the next run reads the codes. Embeddings and the head are no codes, as bitsandbytes leaves
 * them, but rounded to bfloat16 or to 8-bit rows where the configuration says so; norms stay as in the checkpoint.
 */
import type { Folder } from "../../base/byte-source.ts";
import { CheckpointError, ConfigError, TunesmithError } from "../../base/errors.ts";
import type { FolderShelf } from "../../base/folder-shelf.ts";
import { lookUp } from "../../base/registry.ts";
import type { AttachedMethod, Method } from "../../methods/method.ts";
import type { QuantisationFormat, QuantisedStorage } from "../../models/quantisation/format.ts";
import { int8 } from "../../models/quantisation/int8.ts";
import { quantisationFormats } from "../../models/quantisation/registry.ts";
import type { LinearModule } from "../../models/segments.ts";
import { namedTensors, type StoredTensors } from "../../models/storage.ts";
import { bytesOf } from "../../models/weights/element-types.ts";
import {
  encodeSafetensors,
  openSafetensors,
  readTensor,
  type SafetensorsFile,
  type TensorToWrite,
} from "../../models/weights/safetensors.ts";
import type { TensorType } from "../../tensor/graph.ts";
import type { HostTensor } from "../../tensor/host-tensor.ts";
import type { WeightSource } from "./checkpoint-weights.ts";

export interface QuantizationConfig {
  readonly format: string;
  /** How frozen embeddings and the head are held; as the checkpoint has them where absent, as in records of before there was a choice. */
  readonly embeddings?: "bfloat16" | "checkpoint" | "int8";
  /** Of the format int8: how products with codes are computed; float32 where absent. */
  readonly compute?: "float32" | "int8";
}

/** Quantised copies of checkpoints on disk. */
export interface QuantisedCache {
  readonly shelf: FolderShelf;
  /** A name that is the same for the same weights and options only. */
  nameOf(checkpoint: Folder, options: QuantizationConfig): Promise<string>;
  onNotice(message: string): void;
}

export interface QuantisedBase {
  readonly config: QuantizationConfig;
  /** Undefined for parameters that stay as in the checkpoint. */
  storageOf(parameter: string): QuantisedStorage | undefined;
  /** What holds tables of embeddings and the head, where they are quantised too. */
  readonly embeddings?: QuantisedStorage;
  /** Of a code. */
  readonly bits: number;
  /** A weight as its codes have it. */
  roundTrip(weight: Float32Array, linear: LinearModule): Float32Array;
  /** The codes of a weight as it is in the checkpoint. */
  read(parameter: string): Promise<StoredTensors<HostTensor>>;
}

/** @throws ConfigError if the method leaves nothing frozen, or trains the model's own weights and so has to write them */
export function checkFreezesBase(
  attached: AttachedMethod,
  { method, linears }: { method: Pick<Method, "name">; linears: readonly LinearModule[] },
): void {
  const isFrozen = linears.some(({ module }) => !attached.trains(`${module}.weight`));
  if (isFrozen && attached.adapter) return;
  throw new ConfigError(
    `quantization: the method ${method.name} ${isFrozen ? "changes some of the model's own weights, and a run would have to write all of them" : "trains every weight"}; codes cannot be trained or written back. Use a method with an adapter of its own, such as lora, or take quantization out.`,
  );
}

export interface QuantisedBaseOptions {
  readonly config: QuantizationConfig;
  /** The layers to quantise: those of the base, without the ones that are new for a task. */
  readonly linears: readonly LinearModule[];
  readonly source: WeightSource;
  readonly folder: Folder;
  readonly cache?: QuantisedCache | undefined;
}

const fileName = "model.safetensors";

export async function openQuantisedBase({ config, linears, source, folder, cache }: QuantisedBaseOptions): Promise<QuantisedBase> {
  const format = lookUp("quantization format", quantisationFormats as readonly QuantisationFormat[], config.format);
  const weights = new Map(
    linears
      .filter((linear) => !isRouter(linear))
      .map((linear): [string, QuantisedWeight] => [`${linear.module}.weight`, describe(linear, format.storage(config, linear.layout))]),
  );
  const quantise = async (name: string): Promise<StoredTensors<HostTensor>> => {
    const { storage, shape } = weights.get(name)!;
    try {
      return storage.quantise(await source.readFloat32(name), shape);
    } catch (error) {
      throw error instanceof CheckpointError ? new CheckpointError(`${folder.name}: ${name}: ${error.message}`, { cause: error }) : error;
    }
  };
  const file = cache && (await openCached({ config, folder, cache, weights, quantise }));
  return {
    config,
    ...(config.embeddings === "int8" && { embeddings: int8.storage({ format: "int8", compute: config.compute }, "out-in") }),
    bits: format.bits,
    storageOf: (name) => weights.get(name)?.storage,
    roundTrip(weight, { module }) {
      const held = weights.get(`${module}.weight`);
      return held ? held.storage.read(held.storage.quantise(weight, held.shape), held.shape) : weight;
    },
    read: (name) => (file ? readCached(file, name, weights.get(name)!) : quantise(name)),
  };
}

/** The choice of experts is too fine for codes, and a router is small; bitsandbytes leaves it as it is, too. */
const isRouter = ({ bare }: LinearModule): boolean => bare !== undefined && !bare.expert;

interface QuantisedWeight {
  readonly shape: readonly number[];
  readonly storage: QuantisedStorage;
}

const describe = ({ inFeatures, outFeatures, layout }: LinearModule, storage: QuantisedStorage): QuantisedWeight => ({
  shape: layout === "out-in" ? [outFeatures, inFeatures] : [inFeatures, outFeatures],
  storage,
});

interface CacheOptions extends Pick<QuantisedBaseOptions, "config" | "folder"> {
  readonly cache: QuantisedCache;
  readonly weights: ReadonlyMap<string, QuantisedWeight>;
  quantise(name: string): Promise<StoredTensors<HostTensor>>;
}

/** The file of codes, made where it is missing or damaged; undefined where it cannot be kept. */
async function openCached({ config, folder, cache, weights, quantise }: CacheOptions): Promise<SafetensorsFile | undefined> {
  const { shelf } = cache;
  const { embeddings: _, compute: __, ...codes } = config;
  const name = await cache.nameOf(folder, codes);
  if ((await shelf.list()).includes(name)) {
    try {
      return await openSafetensors(await (await shelf.open(name)).open(fileName));
    } catch (error) {
      cache.onNotice(`the quantised copy of ${folder.name} is damaged and is made again: ${(error as Error).message}`);
    }
  }
  const started = performance.now();
  try {
    await shelf.write(name, { [fileName]: encodeSafetensors(codesToWrite(weights, quantise)) });
  } catch (error) {
    const isAboutTheDisk = TunesmithError.isInstance(error) && (error.code === "disk-full" || error.code === "not-writable");
    if (!isAboutTheDisk) throw error;
    cache.onNotice(`the quantised weights cannot be kept for the next run: ${error.message}`);
    return undefined;
  }
  cache.onNotice(
    `quantised ${weights.size} weights of ${folder.name} in ${((performance.now() - started) / 1000).toFixed(1)} s; the next run reads them.`,
  );
  return openSafetensors(await (await shelf.open(name)).open(fileName));
}

/** The tensors of every weight; a weight is quantised when the first of its tensors is written, and let go after the last. */
function codesToWrite(weights: ReadonlyMap<string, QuantisedWeight>, quantise: CacheOptions["quantise"]): Map<string, TensorToWrite> {
  const tensors = new Map<string, TensorToWrite>();
  for (const [name, { storage, shape }] of weights) {
    const types = Object.entries(namedTensors(name, storage.types(shape)));
    let made: Promise<Record<string, HostTensor>> | undefined;
    for (const [i, [part, type]] of types.entries()) {
      tensors.set(part, {
        dtype: fileTypes[type.dtype as keyof typeof fileTypes],
        shape: type.shape as readonly number[],
        async read() {
          made ??= quantise(name).then((stored) => namedTensors(name, stored));
          const { data } = (await made)[part]!;
          if (i === types.length - 1) made = undefined;
          return bytesOf(data);
        },
      });
    }
  }
  return tensors;
}

const fileTypes = { uint8: "U8", int8: "I8", float32: "F32" } as const;

async function readCached(file: SafetensorsFile, name: string, { storage, shape }: QuantisedWeight): Promise<StoredTensors<HostTensor>> {
  const { tensor, companions = {} } = storage.types(shape);
  const read = async (part: string, { dtype, shape: dims }: TensorType): Promise<HostTensor> => {
    const bytes = await readTensor(file, file.tensors.get(part)!);
    const { buffer } = bytes.byteOffset === 0 ? bytes : bytes.slice();
    const data = { uint8: () => bytes, int8: () => new Int8Array(buffer), float32: () => new Float32Array(buffer, 0, bytes.length / 4) };
    return { dtype, dims: dims as readonly number[], data: data[dtype as keyof typeof data]() };
  };
  const parts = await Promise.all(
    Object.entries(companions).map(async ([end, type]) => [end, await read(`${name}.${end}`, type)] as const),
  );
  return { tensor: await read(name, tensor), companions: Object.fromEntries(parts) };
}
