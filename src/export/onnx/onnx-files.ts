/** A tuned model as ONNX files that onnxruntime and transformers.js run as they are: onnx/*.onnx beside config.json and the tokenizer. */
import { lowerToOnnx } from "../../backends/onnx/lower.ts";
import { type OnnxTensor, onnxDataType } from "../../backends/onnx/onnx-schema.ts";
import type { Folder } from "../../base/byte-source.ts";
import { UnsupportedError } from "../../base/errors.ts";
import type { FileContent } from "../../base/folder-shelf.ts";
import { float32ToFloat16 } from "../../base/half.ts";
import { type LoadedModel, withoutMethod } from "../../execution/loaded-model.ts";
import { checkNotQuantised, mergedParameter } from "../../execution/weights/adapter-files.ts";
import type { Model } from "../../models/model.ts";
import type { ParameterSpec } from "../../models/segment-builder.ts";
import { plain } from "../../models/storage.ts";
import { bytesOf } from "../../models/weights/element-types.ts";
import { verifyGraph } from "../../tensor/passes/verify.ts";
import { companionFiles, type LabelFields } from "../merged-checkpoint.ts";
import { buildDecoderGraph } from "./decoder-graph.ts";
import { buildSourceGraph, buildTargetGraph } from "./encoder-decoder-graphs.ts";
import { buildEncoderGraph } from "./encoder-graph.ts";
import type { WholeGraph, WholeGraphOptions } from "./whole-graph.ts";

export type OnnxWeightType = "float32" | "float16";

/** Above this the weights stand in a file of their own: a protobuf message holds 2 GiB at most. */
const inlineBytes = 1024 ** 3;

interface Initializer {
  readonly dims: readonly number[];
  readonly dataType: number;
  readonly sizeBytes: number;
  read(): Uint8Array;
}

export interface OnnxOptions {
  readonly weightType: OnnxWeightType;
  /** Write the rounded weights of a quantised base. */
  readonly dequantize?: boolean;
  readonly labels?: LabelFields | undefined;
}

/** The model's graphs by the names of their files. */
function graphsOf(options: WholeGraphOptions): Readonly<Record<string, WholeGraph>> {
  const { encoder, labelHead, maskKind } = options.model;
  if (encoder && !labelHead) return { encoder_model: buildSourceGraph(options), decoder_model_merged: buildTargetGraph(options) };
  return { model: labelHead || maskKind(0).isBidirectional ? buildEncoderGraph(options) : buildDecoderGraph(options) };
}

/** @throws UnsupportedError if the method puts virtual tokens in front of the text, which these files have no place for */
export async function onnxFiles(
  loaded: LoadedModel,
  base: Folder,
  { weightType, dequantize = false, labels }: OnnxOptions,
): Promise<Record<string, FileContent>> {
  if (loaded.method.virtualTokens)
    throw new UnsupportedError(
      "this adapter puts virtual tokens in front of the text, which an ONNX file has no place for. Export the adapter itself: --format peft.",
    );
  if (!dequantize) checkNotQuantised(loaded.store);
  // What can be folded into weights is; other methods stay in the graph as the layers that they are.
  const folds = loaded.method.adapter?.merge !== undefined;
  const shown = folds ? withoutMethod(loaded) : loaded;
  const specs = new Map([...loaded.store.parameters].map(([name, { spec }]) => [name, spec]));
  const isHalf = (name: string): boolean => weightType === "float16" && specs.get(name)!.shape.length > 1;
  const graphs = graphsOf({
    model: loaded.model,
    hooks: [shown.method.hooks],
    storageOf: (name) => plain(isHalf(name) ? "float16" : "float32"),
  });
  const files: Record<string, FileContent> = {};
  const external: string[] = [];
  for (const [graph, whole] of Object.entries(graphs)) {
    const file = `${graph}${weightType === "float16" ? "_fp16" : ""}.onnx`;
    const initializers = collect(whole, {
      isHalf: ({ name }) => isHalf(name),
      read: ({ name }) => mergedParameter({ name, store: loaded.store, method: loaded.method }).data,
    });
    const total = [...initializers.values()].reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
    const beside = total > inlineBytes ? `${file}_data` : undefined;
    files[`onnx/${file}`] = once(() => encode(whole, { name: `${loaded.model.modelType} ${graph}`, initializers, external: beside }));
    if (beside) {
      files[`onnx/${beside}`] = inOrder(initializers);
      external.push(file);
    }
  }
  const companions = await companionFiles(base, loaded.model, labels);
  const config = JSON.parse(companions["config.json"]) as Record<string, unknown>;
  const told = { ...layersOfDecoder(loaded.model, config), ...besideFiles(external, config) };
  return {
    ...companions,
    ...(Object.keys(told).length > 0 && { "config.json": `${JSON.stringify({ ...config, ...told }, null, 2)}\n` }),
    ...files,
  };
}

function collect(
  { parameters, tables }: WholeGraph,
  { isHalf, read }: { isHalf(spec: ParameterSpec): boolean; read(spec: ParameterSpec): Float32Array },
): ReadonlyMap<string, Initializer> {
  const initializers = new Map<string, Initializer>();
  for (const [input, spec] of parameters) {
    const half = isHalf(spec);
    initializers.set(input, {
      ...{ dims: spec.shape, dataType: half ? onnxDataType.float16 : onnxDataType.float32 },
      sizeBytes: (half ? 2 : 4) * spec.shape.reduce((product, n) => product * n, 1),
      read: () => bytesOf(half ? float32ToFloat16(read(spec)) : read(spec)),
    });
  }
  for (const [input, { dims, data }] of tables)
    initializers.set(input, {
      ...{ dims, dataType: data instanceof Float32Array ? onnxDataType.float32 : onnxDataType.int64 },
      ...{ sizeBytes: data.byteLength, read: () => bytesOf(data) },
    });
  return initializers;
}

interface EncodeOptions {
  readonly name: string;
  readonly initializers: ReadonlyMap<string, Initializer>;
  /** File beside the model that holds the weights, one after the other; they stand in the model itself where absent. */
  readonly external: string | undefined;
}

function encode({ graph }: WholeGraph, { name, initializers, external }: EncodeOptions): Uint8Array {
  let offset = 0;
  const tensorOf = ({ dims, dataType, sizeBytes, read }: Initializer): Omit<OnnxTensor, "name"> => {
    if (!external) return { dims: [...dims], dataType, rawData: read() };
    const where = { location: external, offset: String(offset), length: String(sizeBytes) };
    offset += sizeBytes;
    const externalData = Object.entries(where).map(([key, value]) => ({ key, value }));
    return { dims: [...dims], dataType, externalData, dataLocation: 1 };
  };
  const tensors = new Map([...initializers].map(([input, initializer]) => [input, tensorOf(initializer)]));
  return lowerToOnnx({
    ...{ graph: verifyGraph(graph), name, device: "cpu" },
    initializers: tensors,
    outputName: (output) => output,
  });
}

async function* inOrder(initializers: ReadonlyMap<string, Initializer>): AsyncGenerator<Uint8Array> {
  for (const { read } of initializers.values()) yield read();
}

async function* once(make: () => Uint8Array): AsyncGenerator<Uint8Array> {
  yield make();
}

/** transformers.js looks in config.json for which files have their weights beside them. */
function besideFiles(files: readonly string[], config: Readonly<Record<string, unknown>>): Record<string, unknown> {
  if (files.length === 0) return {};
  const given = (config["transformers.js_config"] ?? {}) as Record<string, unknown>;
  return { "transformers.js_config": { ...given, use_external_data_format: Object.fromEntries(files.map((file) => [file, 1])) } };
}

/** transformers.js counts the caches of an encoder-decoder by config.json, where T5's may leave out what is as in the encoder. */
function layersOfDecoder({ encoder, numHiddenLayers }: Model, config: Readonly<Record<string, unknown>>): Record<string, unknown> {
  if (!encoder) return {};
  const isTold = "decoder_layers" in config || "num_decoder_layers" in config;
  return {
    ...(!("is_encoder_decoder" in config) && { is_encoder_decoder: true }),
    ...(!isTold && { num_decoder_layers: numHiddenLayers }),
  };
}
