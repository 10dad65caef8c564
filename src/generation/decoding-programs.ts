/** The compiled graphs of a decoder, with weights fed from the store or moved into the graphs. */
import type { Executable, HostTensor, Tensor } from "../backends/backend.ts";
import { whyNoInt8 } from "../backends/trials.ts";
import { storageIn } from "../execution/weights/parameter-store.ts";
import { buildDecodingBlocks, type LayerRange } from "../models/decoding-blocks.ts";
import { logitsOf } from "../models/layers/vocabulary.ts";
import {
  buildBlock,
  buildCrossKeyValues,
  buildEmbedding,
  buildHead,
  buildPast,
  buildPositionBias,
  pastTokensDim,
  type Segment,
  type SegmentContext,
} from "../models/segments.ts";
import { float32, namedTensors, type ParameterStorage } from "../models/storage.ts";
import type { Graph } from "../tensor/graph.ts";
import { withoutUnread } from "../tensor/passes/extract.ts";
import type { DecoderOptions } from "./decoder.ts";
import type { LayerKeyValues } from "./key-value-cache.ts";
import type { EncoderPrograms } from "./source-memory.ts";

export interface Program {
  /** @param inputs those of the graph that are no parameters; others are ignored */
  run(inputs: Readonly<Record<string, Tensor>>): Promise<Record<string, HostTensor>>;
}

export interface DecodingPrograms {
  readonly embedding: Program;
  /** Where the model has a relative bias. */
  readonly positionBias?: Program;
  /** In the order of the layers. */
  readonly blocks: readonly (Program & LayerRange)[];
  readonly head: Program;
  /** Of an encoder-decoder. */
  readonly encoder?: EncoderPrograms;
  /** What a method puts in front of every row's keys and values, by layer: [1, H, tokens, D]. */
  readonly front: readonly LayerKeyValues[];
}

/** Layers in one graph whose weights are fed: fewer calls, while equal graphs of a deep model are compiled once. */
const fedLayers = 6;
/** Weights inside one graph, in bytes; they are held several times while it is compiled. */
const packedBytes = 64e6;

export async function compileDecoding(options: DecoderOptions): Promise<DecodingPrograms> {
  const { model, method, store, weights = "shared" } = options;
  await store.trained.onHost();
  const storageOf = await multiplied(options);
  const context = { model, chunks: 1, options: { hooks: [method.hooks], isTraining: false, storageOf } };
  // Its table is read row by row, in the type that it is stored in.
  const embeddingSegment = buildEmbedding(context);
  const embedding = await fed(embeddingSegment, options);
  const biasSegment = buildPositionBias(context, pastTokensDim);
  const front: LayerKeyValues[] = [];
  for (let layer = 0; layer < model.numHiddenLayers; layer++) {
    const past = buildPast(context, { layer });
    if (!past) break;
    const { pastKey, pastValue } = await (await fed(past, options)).run({});
    front.push({ key: pastKey!, value: pastValue! });
  }
  // Codes that would be decoded for each product are better fed than held twice; those that are multiplied as they are, are laid out for it.
  const isPacked = (parameter: string): boolean => {
    const { isQuantised, product } = storageOf(parameter);
    return weights === "packed" && (!isQuantised || product !== undefined);
  };
  const heldAs = (parameter: string): ParameterStorage =>
    isPacked(parameter) && !storageOf(parameter).isQuantised ? float32 : storageOf(parameter);
  const held = { ...context, options: { ...context.options, storageOf: heldAs } };
  const step = weights === "packed" ? layersOf(packedBytes, options) : fedLayers;
  const ranges: LayerRange[] = [];
  for (let from = 0; from < model.numHiddenLayers; from += step) ranges.push({ from, to: Math.min(model.numHiddenLayers, from + step) });
  const segments = [
    ...ranges.map((range) => buildDecodingBlocks(held, range)),
    buildHead(held, (output, build) => build.graph.output("logits", logitsOf(output, build))),
  ];
  const encoderSegments = segmentsOfEncoder(context);
  const readWhileDecoding = [embeddingSegment, ...(biasSegment ? [biasSegment] : []), ...Object.values(encoderSegments ?? {}).flat()];
  const programs: Program[] = [];
  for (const [i, segment] of segments.entries()) {
    if (weights === "shared") programs.push(await fed(segment, options));
    else {
      programs.push(await packed(segment, { ...options, isPacked }));
      const stillRead = parametersOf(...readWhileDecoding, ...segments.slice(i + 1));
      for (const name of parametersOf(segment)) if (isPacked(name) && !stillRead.has(name)) store.forget(name);
    }
  }
  return {
    embedding,
    ...(biasSegment && { positionBias: await fed(biasSegment, options) }),
    front,
    ...(encoderSegments && { encoder: await compileEncoder(encoderSegments, options) }),
    blocks: ranges.map((range, i) => ({ ...range, ...programs[i]! })),
    head: programs.at(-1)!,
  };
}

/** How parameters are held, with integer products in place of decoded ones where the device has them: every step would decode whole weights. */
async function multiplied({ backend, store }: DecoderOptions): Promise<(parameter: string) => ParameterStorage> {
  const asStored = storageIn(store);
  const gains = [...store.parameters.values()].some(({ storage }) => storage.nearProduct);
  if (!gains || backend.name !== "cpu" || (await whyNoInt8(backend))) return asStored;
  return (parameter) => {
    const storage = asStored(parameter);
    return storage.nearProduct ? { ...storage, product: storage.nearProduct } : storage;
  };
}

/** The encoder's embedding and blocks, then the keys and values that the decoder's layers make of its output; it reads a source once. */
function segmentsOfEncoder(context: SegmentContext): EncoderSegments | undefined {
  const { encoder, numHiddenLayers } = context.model;
  if (!encoder) return undefined;
  const own = { ...context, stack: encoder };
  const positionBias = buildPositionBias(own);
  return {
    embedding: buildEmbedding(own),
    ...(positionBias && { positionBias }),
    blocks: Array.from({ length: encoder.numHiddenLayers }, (_, layer) => buildBlock(own, { layer })),
    crossKeyValues: Array.from({ length: numHiddenLayers }, (_, layer) => buildCrossKeyValues(context, { layer })),
  };
}

interface EncoderSegments {
  readonly embedding: Segment;
  readonly positionBias?: Segment;
  readonly blocks: readonly Segment[];
  readonly crossKeyValues: readonly Segment[];
}

async function compileEncoder(segments: EncoderSegments, options: DecoderOptions): Promise<EncoderPrograms> {
  const { embedding, positionBias, blocks, crossKeyValues } = segments;
  const compile = (segment: Segment): Promise<Program> => fed(segment, options);
  return {
    embedding: await compile(embedding),
    ...(positionBias && { positionBias: await compile(positionBias) }),
    blocks: await Promise.all(blocks.map(compile)),
    crossKeyValues: await Promise.all(crossKeyValues.map(compile)),
  };
}

const parametersOf = (...segments: readonly Segment[]): ReadonlySet<string> =>
  new Set(segments.flatMap(({ parameters }) => [...parameters.values()].map(({ name }) => name)));

/** A segment whose parameters are given in every run. */
async function fed(segment: Segment, { backend, store }: DecoderOptions): Promise<Program> {
  const parameters: Record<string, HostTensor> = {};
  for (const [local, { name }] of segment.parameters) Object.assign(parameters, namedTensors(local, store.parameters.get(name)!));
  const graph = withoutUnread(segment.graph);
  return bind(graph, await backend.compile(graph, { name: `${segment.name} decoding` }), parameters);
}

interface PackedOptions extends DecoderOptions {
  isPacked(parameter: string): boolean;
}

/** A segment that holds its parameters, but for codes that it decodes. */
async function packed(segment: Segment, { backend, store, isPacked }: PackedOptions): Promise<Program> {
  const constants = new Map<string, HostTensor>();
  const parameters: Record<string, HostTensor> = {};
  for (const [local, spec] of segment.parameters) {
    const { storage, ...stored } = store.parameters.get(spec.name)!;
    // A copy even of float32: JavaScript does not see what the runtime holds, and collects what the store let go of only where
    // memory of its own is asked for. At 135M parameters the peak is 1,236 MB with copies and 1,445 MB without.
    if (!isPacked(spec.name)) Object.assign(parameters, namedTensors(local, stored));
    else if (storage.isQuantised) for (const [name, tensor] of Object.entries(namedTensors(local, stored))) constants.set(name, tensor);
    else constants.set(local, { dtype: "float32", dims: spec.shape, data: storage.read(stored, spec.shape).slice() });
  }
  const graph = withoutUnread(segment.graph);
  return bind(graph, await backend.compile(graph, { name: `${segment.name} decoding`, constants }), parameters);
}

function bind(graph: Graph, executable: Executable, parameters: Readonly<Record<string, HostTensor>>): Program {
  return {
    run(inputs) {
      const all: Record<string, Tensor> = { ...inputs, ...parameters };
      return executable.run(Object.fromEntries([...graph.inputs.keys()].flatMap((name) => (all[name] ? [[name, all[name]]] : []))));
    },
  };
}

/** How many layers hold about so many bytes in float32, at least one. */
function layersOf(bytes: number, { model, store }: Pick<DecoderOptions, "model" | "store">): number {
  const prefix = model.blockPrefix(0);
  let layer = 1;
  for (const { spec } of store.parameters.values())
    if (spec.name.startsWith(prefix)) layer += 4 * spec.shape.reduce((product, size) => product * size, 1);
  return Math.max(1, Math.min(model.numHiddenLayers, Math.floor(bytes / layer)));
}
