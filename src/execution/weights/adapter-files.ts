/** Adapters as Python PEFT and AdapterHub write them: adapter_config.json beside a safetensors file. */
import type { Folder } from "../../base/byte-source.ts";
import { CheckpointError, UnsupportedError } from "../../base/errors.ts";
import { nearestName } from "../../base/nearest-name.ts";
import type { AdapterFormat, AttachedMethod, Method, ParameterData } from "../../methods/method.ts";
import { methods } from "../../methods/registry.ts";
import { readJson } from "../../models/weights/checkpoint.ts";
import { bytesOf, toFloat32 } from "../../models/weights/element-types.ts";
import { encodeSafetensors, openSafetensors, readTensor, type TensorToWrite } from "../../models/weights/safetensors.ts";
import { type BaseRecord, encodeRecord, readRecord, recordFile } from "./base-record.ts";
import { type ParameterStore, readParameter, type StoredParameter } from "./parameter-store.ts";

const configFile = "adapter_config.json";
/** PEFT's, and AdapterHub's. */
const weightsFiles = ["adapter_model.safetensors", "adapter.safetensors"] as const;

export interface Adapter {
  /** Its folder. */
  readonly name: string;
  readonly method: Method;
  readonly config: unknown;
  readonly baseModel: string | undefined;
  /** The base it was trained on; undefined where it was made elsewhere. */
  readonly base: BaseRecord | undefined;
  /** Copies the adapter's values into a model's parameters.
   * @throws CheckpointError if tensors are missing, unknown, or have other shapes: the adapter was made for another base */
  loadInto(store: ParameterStore, method: AttachedMethod): void;
}

/** @throws CheckpointError if files are missing or damaged; UnsupportedError for adapter kinds that are not built */
export async function readAdapter(folder: Folder): Promise<Adapter> {
  const json = await readJson(folder, configFile);
  const kind = kindOf(json);
  const known = (methods as readonly Method[]).filter(({ peftType }) => peftType !== undefined);
  const method = known.find(({ peftType }) => peftType === kind);
  if (!method)
    throw new UnsupportedError(
      `${folder.name}/${configFile}: the adapter type "${kind}" is not supported; known: ${known.map(({ peftType }) => peftType).join(", ")}.`,
    );
  const present = await folder.list();
  const weightsFile = weightsFiles.find((file) => present.includes(file));
  if (!weightsFile)
    throw new CheckpointError(
      `${folder.name} has no ${weightsFiles.join(" and no ")}. Name the folder of an adapter that was saved as safetensors.`,
    );
  const file = await openSafetensors(await folder.open(weightsFile));
  const tensors = new Map<string, ParameterData>();
  for (const [name, entry] of file.tensors)
    tensors.set(name, { shape: entry.shape, data: toFloat32({ name, dtype: entry.dtype, bytes: await readTensor(file, entry) }) });
  return {
    name: folder.name,
    method,
    config: method.fromPeft!(withoutHead(json, [...tensors.keys()]), [...tensors.keys()]),
    baseModel: [json.base_model_name_or_path, json.model_name].find((name) => typeof name === "string"),
    base: await readRecord(folder),
    loadInto: (store, attached) => copyInto({ tensors, json, store, attached, name: folder.name }),
  };
}

/** The modules of a task's head are saved with every adapter of that task; the task brings them, not the method. */
function withoutHead(json: Readonly<Record<string, unknown>>, tensors: readonly string[]): Readonly<Record<string, unknown>> {
  if (!Array.isArray(json.modules_to_save)) return json;
  const labels = /(^|\.)(classifier|score|qa_outputs|pre_classifier|classification_head|pooler|head)(\.\w+)?$/;
  // A whole head for words holds the layer that shares the embeddings, too.
  const isWhole = tensors.some((name) => /\.(decoder|vocab_projector)\.weight$/.test(name));
  const words = /^(cls|lm_head|head|decoder|vocab_(transform|layer_norm|projector))$/;
  const own = json.modules_to_save.filter((module) => !labels.test(String(module)) && !(isWhole && words.test(String(module))));
  return { ...json, modules_to_save: own.length > 0 ? own : null };
}

/** PEFT names the kind; AdapterHub nests the options, and leaves the architecture out for adapter layers. */
function kindOf({ peft_type: peftType, config }: Readonly<Record<string, unknown>>): string {
  if (peftType !== undefined || typeof config !== "object" || config === null) return String(peftType);
  return `adapterhub:${(config as { architecture?: string }).architecture ?? "bottleneck"}`;
}

/** The parameters that an adapter's file holds. */
const ofAdapter = (store: ParameterStore, adapter: AdapterFormat): StoredParameter[] =>
  [...store.parameters.values()].filter(({ spec, gradient }) => gradient || adapter.holds?.(spec.name));

interface CopyOptions {
  readonly json: Readonly<Record<string, unknown>>;
  readonly tensors: ReadonlyMap<string, ParameterData>;
  readonly store: ParameterStore;
  readonly attached: AttachedMethod;
  readonly name: string;
}

function copyInto({ tensors: packed, json, store, attached, name: folder }: CopyOptions): void {
  const unpacked = attached.adapter!.unpack?.(packed, json) ?? packed;
  const { shared } = attached.adapter!;
  const tensors = new Map([...unpacked].filter(([name]) => !shared?.has(name)));
  const problems: string[] = [];
  const wanted = new Map(
    ofAdapter(store, attached.adapter!).map((parameter) => [attached.adapter!.fileName(parameter.spec.name), parameter]),
  );
  for (const [name, { spec, tensor }] of wanted) {
    const found = tensors.get(name);
    if (!found) problems.push(`${name} is missing`);
    else if (found.shape.join() !== spec.shape.join())
      problems.push(`${name} is [${found.shape.join(", ")}], this base needs [${spec.shape.join(", ")}]`);
    else (tensor.data as Float32Array).set(found.data);
  }
  for (const name of tensors.keys()) {
    if (!wanted.has(name))
      problems.push(
        `${name} has no place in this base${nearestName(name, [...wanted.keys()]) ? ` (nearest: ${nearestName(name, [...wanted.keys()])})` : ""}`,
      );
  }
  for (const [name, of] of shared ?? []) {
    const copy = unpacked.get(name);
    if (copy && !isCopyOf(copy, mergedParameter({ name: of, store, method: attached })))
      problems.push(`${name} was trained apart from ${of}, which it shares here (tie_word_embeddings)`);
  }
  if (problems.length === 0) return;
  const shown = problems.slice(0, 8).map((problem) => `\n  - ${problem}`);
  throw new CheckpointError(
    `${folder}: the adapter does not fit this base model (${problems.length} differences):${shown.join("")}\nUse the base that adapter_config.json names.`,
  );
}

/** The same values, as far as bfloat16 holds them: a base may be held so. */
const isCopyOf = (copy: ParameterData, { shape, data }: ParameterData): boolean =>
  copy.shape.join() === shape.join() && copy.data.every((value, i) => Math.abs(value - data[i]!) <= Math.abs(data[i]!) * 2 ** -7);

/** The files of an adapter folder. @throws UnsupportedError if the method has no adapter of its own */
export function encodeAdapter({
  store,
  method,
  baseModel,
  base,
}: {
  store: ParameterStore;
  method: AttachedMethod;
  baseModel: string;
  base?: BaseRecord;
}): Record<string, string | AsyncIterable<Uint8Array>> {
  const { adapter } = method;
  if (!adapter)
    throw new UnsupportedError(
      "this method trains the model's own weights, so there is no adapter to write. Export the merged model instead.",
    );
  const held = new Map(
    ofAdapter(store, adapter).map(({ spec, tensor }) => [
      adapter.fileName(spec.name),
      { shape: spec.shape, data: tensor.data as Float32Array },
    ]),
  );
  const copies = [...(adapter.shared ?? [])].map(([name, of]) => [name, mergedParameter({ name: of, store, method })] as const);
  const tensors = [...(adapter.pack?.(held) ?? held), ...copies].map(
    ([name, { shape, data }]) => [name, { dtype: "F32", shape, read: async () => bytesOf(data) }] satisfies [string, TensorToWrite],
  );
  const sorted = new Map(tensors.sort(([a], [b]) => (a < b ? -1 : 1)));
  const config = withFloats(JSON.stringify(adapter.config(baseModel), null, 2), adapter.floatFields ?? []);
  return {
    [configFile]: `${config}\n`,
    [adapter.weightsFile ?? weightsFiles[0]]: encodeSafetensors(sorted),
    ...(base && { [recordFile]: encodeRecord({ ...base, name: baseModel }) }),
  };
}

/** JSON text in which whole numbers of these fields have a fraction. */
const withFloats = (json: string, fields: readonly string[]): string =>
  fields.reduce((text, field) => text.replace(new RegExp(`("${field}": -?\\d+)(?=,?\n)`, "g"), "$1.0"), json);

interface Folding {
  readonly name: string;
  readonly store: ParameterStore;
  readonly method: AttachedMethod;
}

/** @throws UnsupportedError if weights are held as codes, into which nothing can be folded */
export function checkNotQuantised({ parameters }: ParameterStore): void {
  const codes = [...parameters.values()].find(({ storage }) => storage.isQuantised);
  if (codes)
    throw new UnsupportedError(
      `${codes.spec.name} is quantised, and an adapter cannot be folded into codes. Export with --dequantize: the result has the checkpoint's own types and holds the rounded weights, which are those that the adapter was tuned with; or export the adapter: --format peft.`,
    );
}

/** A parameter of the base with the adapter folded in, or as it is where the method has nothing to fold; codes are decoded. */
export function mergedParameter({ name, store, method }: Folding): ParameterData {
  const base = readStored(store, name);
  return method.adapter?.merge?.(name, base, (of) => readStored(store, of)) ?? base;
}

/** The base's parameter, where the store holds merged ones beside the adapter that was merged into them.
 * @throws UnsupportedError if the method cannot be undone */
export function unmergedParameter({ name, store, method }: Folding): ParameterData {
  if (!method.adapter?.unmerge) throw new UnsupportedError("this method's merge cannot be undone. Use the base model itself.");
  const merged = readStored(store, name);
  return method.adapter.unmerge(name, merged, (of) => readStored(store, of)) ?? merged;
}

const readStored = (store: ParameterStore, name: string): ParameterData => readParameter(store.parameters.get(name)!);
