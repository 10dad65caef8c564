/**
 * Builds the graphs of a model's segments with their standard inputs and outputs. Named sizes: `batch`, `tokenChunk`
 * (T = chunks * tokenChunk), `pastTokens`, `positions` (rows of the rotary tables), `rows` (positions that have a target).
 */

import { Graph, type TensorType, type Value } from "../tensor/graph.ts";
import {
  broadcastTo,
  concat,
  constant,
  equal,
  greaterOrEqual,
  less,
  logicalAnd,
  logicalOr,
  mul,
  reshape,
  scatterAddRows,
  slice,
  sub,
  where,
} from "../tensor/ops/index.ts";
import { addDims, type Dim, dim, divideDims, multiplyDims } from "../tensor/shape.ts";
import { keysSeen } from "./layers/attention.ts";
import { positionBias, positionBiasShape } from "./layers/relative-bias.ts";
import { logitsOf } from "./layers/vocabulary.ts";
import type { BlockOutput, EncoderOutput, HeadOutput, MaskKind, Model, Stack } from "./model.ts";
import {
  type BareWeight,
  type LinearLayout,
  type ModelHooks,
  type ParameterPiece,
  type ParameterSpec,
  SegmentBuilder,
  type SegmentOptions,
} from "./segment-builder.ts";
import { float32 } from "./storage.ts";

export interface Segment {
  readonly name: string;
  readonly graph: Graph;
  /** Graph input name -> parameter. */
  readonly parameters: ReadonlyMap<string, ParameterSpec>;
  /** Graph input name -> the part of a parameter that it holds. */
  readonly pieces?: ReadonlyMap<string, ParameterPiece>;
}

export interface SegmentContext {
  readonly model: Model;
  /** The stack whose segments are built; the one that the head stands on where absent. */
  readonly stack?: Stack;
  /** How many chunks the queries are cut into; the token count of a batch must be a multiple. */
  readonly chunks: number;
  readonly options: Omit<SegmentOptions, "prefix">;
}

export const batchDim: Dim = dim("batch");
/** Room for earlier tokens when decoding. */
export const pastTokensDim: Dim = dim("pastTokens");
const tokensDim = (chunks: number): Dim => multiplyDims(chunks, dim("tokenChunk"));
const ids = (chunks: number): TensorType => ({ dtype: "int64", shape: [batchDim, tokensDim(chunks)] });

/** Tokens of the encoder, which the blocks of its decoder read. */
export const encoderTokensDim: Dim = dim("encoderTokens");

/** inputIds, positionIds (, tokenTypeIds) int64 [B, T] -> hidden [B, T, C]. */
export function buildEmbedding({ model, stack = model, chunks, options }: SegmentContext): Segment {
  const build = new SegmentBuilder({ ...options, prefix: "" });
  const inputIds = build.graph.input("inputIds", ids(chunks));
  const positionIds = build.graph.input("positionIds", ids(chunks));
  const tokenTypes = stack.readsTokenTypes && { tokenTypeIds: build.graph.input("tokenTypeIds", ids(chunks)) };
  build.graph.output("hidden", stack.embed(build, { inputIds, positionIds, ...tokenTypes }));
  return { name: "embedding", graph: build.graph, parameters: build.parameters };
}

/** Graph input or output with the position bias of one chunk of queries. */
export const positionBiasName = (chunk: number): string => `positionBias.${chunk}`;

/**
 * (pastBuckets int64 [past],) distanceBuckets int64 [2 T] -> positionBias.0 ... positionBias.n, as blocks read them; undefined in
 * stacks without a relative bias. Both together are what `distanceBuckets` in layers/relative-bias.ts gives.
 * @param past keys in front of the queries' own, by default those that the method puts there
 */
export function buildPositionBias(context: SegmentContext, past: Dim = prefixTokens(context)): Segment | undefined {
  const { model, stack = model, chunks, options } = context;
  if (!stack.relativeBias) return undefined;
  const build = new SegmentBuilder({ ...options, prefix: "" });
  const T = tokensDim(chunks);
  const buckets = (name: string, size: Dim): Value => build.graph.input(name, { dtype: "int64", shape: [size] });
  const parts = [...(past === 0 ? [] : [buckets("pastBuckets", past)]), buckets("distanceBuckets", multiplyDims(2, T))];
  const biases = positionBias(build, { ...{ stack, chunks }, queries: T, keys: addDims(past, T), distanceBuckets: concat(parts, 0) });
  for (const [chunk, bias] of biases.entries()) build.graph.output(positionBiasName(chunk), bias);
  return { name: "position bias", graph: build.graph, parameters: build.parameters };
}

/** How many keys methods put in front of a stack's own; in front of an encoder nothing stands. */
function prefixTokens(context: SegmentContext): Dim {
  const { model, stack = model } = context;
  const past = stack === model ? buildPast(context, { layer: 0 }) : undefined;
  return past?.graph.outputs.get("pastKey")?.shape[2] ?? 0;
}

/** hidden, positionIds, rotary tables, masks (, positionBias) (, encoderHidden, crossMasks) -> hidden. When decoding: `decoding-blocks.ts`. */
export function buildBlock({ model, stack = model, chunks, options }: SegmentContext, { layer }: { layer: number }): Segment {
  const build = new SegmentBuilder({ ...options, prefix: stack.blockPrefix(layer) });
  const { graph } = build;
  const T = tokensDim(chunks);
  // In front of an encoder nothing stands.
  const front = stack === model ? build.past : undefined;
  const past = front?.key.shape[1] ?? 0;
  const float = (shape: Dim[]): TensorType => ({ dtype: "float32", shape });
  const hidden = graph.input("hidden", float([batchDim, T, stack.hiddenSize]));
  const positionIds = graph.input("positionIds", ids(chunks));
  const turning = stack.rotary?.(layer);
  const table = turning && float([dim("positions"), turning.rotaryDim / 2]);
  const rotary = table && { cos: graph.input("rotaryCos", table), sin: graph.input("rotarySin", table) };
  const { isBidirectional } = stack.maskKind(layer);
  const seen = (chunk: number): Dim => keysSeen({ tokens: T, chunks, chunk, past, isBidirectional });
  const masks = Array.from({ length: chunks }, (_, chunk) =>
    graph.input(`mask.${chunk}`, float([batchDim, 1, 1, divideDims(T, chunks), seen(chunk)])),
  );
  const biases = (): Value[] =>
    masks.map(({ shape: [, , , t, keys] }, chunk) =>
      graph.input(positionBiasName(chunk), { dtype: "float32", shape: positionBiasShape(stack, [t!, keys!]) }),
    );
  const output: BlockOutput = stack.block(build, {
    ...{ layer, hidden, positionIds, masks },
    ...(rotary && { rotary }),
    ...(stack.relativeBias && { positionBias: biases() }),
    ...(stack === model && model.encoder && { encoded: encoderInputs(build, { model, chunks }) }),
    ...(front && { past: { key: forEachRow(front.key), value: forEachRow(front.value) } }),
  });
  graph.output("hidden", output.hidden);
  return { name: stack.blockPrefix(layer).slice(0, -1), graph, parameters: build.parameters };
}

/** encoderHidden [B, S, C] and its masks as inputs of a decoder's block. */
function encoderInputs(build: SegmentBuilder, { model, chunks }: Pick<SegmentContext, "model" | "chunks">): EncoderOutput {
  const { graph } = build;
  const float = (shape: Dim[]): TensorType => ({ dtype: "float32", shape });
  const t = divideDims(tokensDim(chunks), chunks);
  return {
    ...model.crossKeyValues!(build, graph.input("encoderHidden", float([batchDim, encoderTokensDim, model.encoder!.hiddenSize]))),
    masks: Array.from({ length: chunks }, (_, i) => graph.input(`crossMask.${i}`, float([batchDim, 1, 1, t, encoderTokensDim]))),
  };
}

/** encoderHidden [B, S, C] -> crossKey, crossValue [B, S, heads * headDim] of a decoder's block, once for all its steps. */
export function buildCrossKeyValues({ model, options }: SegmentContext, { layer }: { layer: number }): Segment {
  const build = new SegmentBuilder({ ...options, prefix: model.blockPrefix(layer) });
  const shape = [batchDim, encoderTokensDim, model.encoder!.hiddenSize];
  const { key, value } = model.crossKeyValues!(build, build.graph.input("encoderHidden", { dtype: "float32", shape }));
  build.graph.output("crossKey", key);
  build.graph.output("crossValue", value);
  return { name: `cross-attention of ${model.blockPrefix(layer).slice(0, -1)}`, graph: build.graph, parameters: build.parameters };
}

/** [heads, P, D] -> [B, heads, P, D]. */
const forEachRow = (x: Value): Value => broadcastTo(reshape(x, [1, ...x.shape]), [batchDim, ...x.shape]);

/** -> pastKey, pastValue [1, heads, P, D] that methods put in front of a layer's own; undefined where none does. */
export function buildPast({ model, stack = model, options }: SegmentContext, { layer }: { layer: number }): Segment | undefined {
  const build = new SegmentBuilder({ ...options, prefix: stack.blockPrefix(layer) });
  const { past } = build;
  if (!past) return undefined;
  build.graph.output("pastKey", reshape(past.key, [1, ...past.key.shape]));
  build.graph.output("pastValue", reshape(past.value, [1, ...past.value.shape]));
  return { name: `past of ${stack.blockPrefix(layer).slice(0, -1)}`, graph: build.graph, parameters: build.parameters };
}

/** rows [N, C] of the residual stream -> whatever `finish` makes of the head's features and vocabulary matrix. */
export function buildHead(context: SegmentContext, finish: (head: HeadOutput, build: SegmentBuilder) => void): Segment {
  const { model, options } = context;
  const build = new SegmentBuilder({ ...options, prefix: "" });
  const rows = build.graph.input("rows", { dtype: "float32", shape: [dim("rows"), model.hiddenSize] });
  finish(model.head(build, rows), build);
  return { name: "head", graph: build.graph, parameters: build.parameters, pieces: build.pieces };
}

/**
 * rows [N, C] of the residual stream -> whatever `finish` makes of the logits of the model's label head: one row of logits for
 * each row, or where the head pools the mean, for each document: documentOf int64 [N], inverseLength float32 [documents].
 */
export function buildLabelHead({ model, options }: SegmentContext, finish: (logits: Value, build: SegmentBuilder) => void): Segment {
  const build = new SegmentBuilder({ ...options, prefix: "" });
  const rows = build.graph.input("rows", { dtype: "float32", shape: [dim("rows"), model.hiddenSize] });
  const head = model.labelHead!;
  const prepared = head.rows?.(build, rows) ?? rows;
  finish(head.build(build, head.pools === "mean" ? meanByDocument(build, prepared) : prepared, head.numLabels), build);
  return { name: head.name, graph: build.graph, parameters: build.parameters };
}

function meanByDocument({ graph }: SegmentBuilder, rows: Value): Value {
  const documents = dim("documents");
  const documentOf = graph.input("documentOf", { dtype: "int64", shape: [rows.shape[0]!] });
  const inverseLength = graph.input("inverseLength", { dtype: "float32", shape: [documents] });
  return mul(scatterAddRows(documentOf, rows, documents), reshape(inverseLength, [documents, 1]));
}

/** Document id of keys that every document sees. */
export const everyDocument = -2;

/**
 * Additive masks for one kind of attention: 0 where a query may look, -1e9 where not. A query sees keys of its own
 * document, as `kind` says.
 * documentIds, positionIds [B, T] and keyDocumentIds, keyPositionIds [B, past + T], int64 -> mask.0 ... mask.n
 */
export function buildMasks({ chunks, past, kind }: { chunks: number; past: Dim; kind: MaskKind }): Graph {
  const graph = new Graph();
  const T = tokensDim(chunks);
  const keyType: TensorType = { dtype: "int64", shape: [batchDim, addDims(past, T)] };
  const queryDocuments = graph.input("documentIds", ids(chunks));
  const queryPositions = graph.input("positionIds", ids(chunks));
  const keyDocuments = graph.input("keyDocumentIds", keyType);
  const keyPositions = graph.input("keyPositionIds", keyType);
  const { isBidirectional, slidingWindow } = kind;
  for (let chunk = 0; chunk < chunks; chunk++) {
    const seen = keysSeen({ tokens: T, chunks, chunk, past, isBidirectional });
    const [rows, columns] = [chunkRows({ chunks, chunk }), firstColumns(seen)];
    const [queryPosition, keyPosition] = [rows(queryPositions), columns(keyPositions)];
    let visible = equal(rows(queryDocuments), columns(keyDocuments));
    if (past !== 0) visible = logicalOr(visible, equal(columns(keyDocuments), constant(graph, everyDocument, "int64")));
    if (!isBidirectional) visible = logicalAnd(visible, greaterOrEqual(queryPosition, keyPosition));
    if (slidingWindow !== undefined) {
      const window = constant(graph, slidingWindow, "int64");
      visible = logicalAnd(visible, less(sub(queryPosition, keyPosition), window));
      if (isBidirectional) visible = logicalAnd(visible, less(sub(keyPosition, queryPosition), window));
    }
    graph.output(`mask.${chunk}`, additive(visible));
  }
  return graph;
}

/** The same for a decoder's tokens that look at the encoder's: a query sees all keys of its own document.
 * documentIds [B, T] and keyDocumentIds [B, S], int64 -> crossMask.0 ... crossMask.n */
export function buildCrossMasks({ chunks }: { chunks: number }): Graph {
  const graph = new Graph();
  const queryDocuments = graph.input("documentIds", ids(chunks));
  const keyDocuments = graph.input("keyDocumentIds", { dtype: "int64", shape: [batchDim, encoderTokensDim] });
  for (let chunk = 0; chunk < chunks; chunk++) {
    const visible = equal(chunkRows({ chunks, chunk })(queryDocuments), firstColumns(encoderTokensDim)(keyDocuments));
    graph.output(`crossMask.${chunk}`, additive(visible));
  }
  return graph;
}

const additive = (visible: Value): Value => where(visible, constant(visible.graph, 0), constant(visible.graph, -1e9));

/** One chunk of [B, T], as rows of scores [B, 1, 1, t, 1]. */
function chunkRows({ chunks, chunk }: { chunks: number; chunk: number }): (x: Value) => Value {
  const t = divideDims(tokensDim(chunks), chunks);
  return (x) => reshape(slice(x, 1, { start: multiplyDims(chunk, t), size: t }), [batchDim, 1, 1, t, 1]);
}

/** The first columns of [B, S], as columns of scores [B, 1, 1, 1, size]. */
const firstColumns =
  (size: Dim): ((x: Value) => Value) =>
  (x) =>
    reshape(slice(x, 1, { start: 0, size }), [batchDim, 1, 1, 1, size]);

/** The linear layers of a model's blocks, as methods see them. */
export interface LinearModule {
  readonly module: string;
  readonly inFeatures: number;
  readonly outFeatures: number;
  readonly layout: LinearLayout;
  readonly bare?: BareWeight;
}

/** The stacks of a model in order of use. */
export const stacksOf = (model: Model): readonly Stack[] => (model.encoder ? [model.encoder, model] : [model]);

/** Every parameter and every linear layer of a model, in order of use. */
export function describeModel(model: Model): { parameters: ParameterSpec[]; linears: LinearModule[] } {
  const linears: LinearModule[] = [];
  const recorder: ModelHooks = {
    linear({ module, inFeatures, outFeatures, layout, bare, output }) {
      linears.push({ module, inFeatures, outFeatures, layout, ...(bare && { bare }) });
      return output;
    },
  };
  const context: SegmentContext = { model, chunks: 1, options: { hooks: [recorder], isTraining: false, storageOf: () => float32 } };
  const segments = stacksOf(model).flatMap((stack) => [
    buildEmbedding({ ...context, stack }),
    ...[buildPositionBias({ ...context, stack }) ?? []].flat(),
    ...Array.from({ length: stack.numHiddenLayers }, (_, layer) => buildBlock({ ...context, stack }, { layer })),
  ]);
  segments.push(model.labelHead ? buildLabelHead(context, () => {}) : buildHead(context, (head, build) => logitsOf(head, build)));
  const parameters = new Map<string, ParameterSpec>();
  for (const segment of segments) for (const spec of segment.parameters.values()) parameters.set(spec.name, spec);
  return { parameters: [...parameters.values()], linears };
}
