/**
 * Builds the graphs of a model's segments with their standard inputs and outputs. Named sizes: `batch`, `tokenChunk`
 * (T = chunks * tokenChunk), `pastTokens`, `positions` (rows of the rotary tables), `rows` (positions that have a target).
 */

import { Graph, type TensorType, type Value } from "../tensor/graph.ts";
import {
  broadcastTo,
  constant,
  equal,
  greaterOrEqual,
  less,
  logicalAnd,
  logicalOr,
  reshape,
  slice,
  sub,
  where,
} from "../tensor/ops/index.ts";
import { addDims, type Dim, dim, divideDims, multiplyDims } from "../tensor/shape.ts";
import type { BlockOutput, CausalLm, HeadOutput, MaskKind } from "./causal-lm.ts";
import { keysSeen } from "./layers/attention.ts";
import { type LinearLayout, type ModelHooks, type ParameterSpec, SegmentBuilder, type SegmentOptions } from "./segment-builder.ts";

export interface Segment {
  readonly name: string;
  readonly graph: Graph;
  /** Graph input name -> parameter. */
  readonly parameters: ReadonlyMap<string, ParameterSpec>;
}

export interface SegmentContext {
  readonly model: CausalLm;
  /** How many chunks the queries are cut into; the token count of a batch must be a multiple. */
  readonly chunks: number;
  readonly options: Omit<SegmentOptions, "prefix">;
}

export const batchDim: Dim = dim("batch");
/** Tokens in the cache when decoding. */
export const pastTokensDim: Dim = dim("pastTokens");
const tokensDim = (chunks: number): Dim => multiplyDims(chunks, dim("tokenChunk"));
const ids = (chunks: number): TensorType => ({ dtype: "int64", shape: [batchDim, tokensDim(chunks)] });

/** inputIds, positionIds int64 [B, T] -> hidden [B, T, C]. */
export function buildEmbedding({ model, chunks, options }: SegmentContext): Segment {
  const build = new SegmentBuilder({ ...options, prefix: "" });
  const inputIds = build.graph.input("inputIds", ids(chunks));
  const positionIds = build.graph.input("positionIds", ids(chunks));
  build.graph.output("hidden", model.embed(build, { inputIds, positionIds }));
  return { name: "embedding", graph: build.graph, parameters: build.parameters };
}

/** hidden, positionIds, rotary tables, masks (, pastKey, pastValue) -> hidden (, presentKey, presentValue). */
export function buildBlock({ model, chunks, options }: SegmentContext, { layer, cached }: { layer: number; cached: boolean }): Segment {
  const build = new SegmentBuilder({ ...options, prefix: model.blockPrefix(layer) });
  const { graph } = build;
  const T = tokensDim(chunks);
  // When decoding, what stands in front is in the cache already.
  const front = cached ? undefined : build.past;
  const past = cached ? pastTokensDim : (front?.key.shape[1] ?? 0);
  const float = (shape: Dim[]): TensorType => ({ dtype: "float32", shape });
  const hidden = graph.input("hidden", float([batchDim, T, model.hiddenSize]));
  const positionIds = graph.input("positionIds", ids(chunks));
  const half = model.rotaryTables?.({ length: 1, sequenceLength: 1 }).half;
  const table = half === undefined ? undefined : float([dim("positions"), half]);
  const rotary = table && { cos: graph.input("rotaryCos", table), sin: graph.input("rotarySin", table) };
  const masks = Array.from({ length: chunks }, (_, chunk) =>
    graph.input(`mask.${chunk}`, float([batchDim, 1, 1, divideDims(T, chunks), keysSeen({ tokens: T, chunks, chunk, past })])),
  );
  const cacheType = float([batchDim, model.numKeyValueHeads, past, model.headDim]);
  const output: BlockOutput = model.block(build, {
    ...{ layer, hidden, positionIds, masks },
    ...(rotary && { rotary }),
    ...(front && { past: { key: forEachRow(front.key), value: forEachRow(front.value) } }),
    ...(cached && { past: { key: graph.input("pastKey", cacheType), value: graph.input("pastValue", cacheType) } }),
  });
  graph.output("hidden", output.hidden);
  if (cached) {
    graph.output("presentKey", output.present.key);
    graph.output("presentValue", output.present.value);
  }
  return { name: model.blockPrefix(layer).slice(0, -1), graph, parameters: build.parameters };
}

/** [heads, P, D] -> [B, heads, P, D]. */
const forEachRow = (x: Value): Value => broadcastTo(reshape(x, [1, ...x.shape]), [batchDim, ...x.shape]);

/** -> pastKey, pastValue [1, heads, P, D] that methods put in front of a layer's own; undefined where none does. */
export function buildPast({ model, options }: SegmentContext, { layer }: { layer: number }): Segment | undefined {
  const build = new SegmentBuilder({ ...options, prefix: model.blockPrefix(layer) });
  const { past } = build;
  if (!past) return undefined;
  build.graph.output("pastKey", reshape(past.key, [1, ...past.key.shape]));
  build.graph.output("pastValue", reshape(past.value, [1, ...past.value.shape]));
  return { name: `past of ${model.blockPrefix(layer).slice(0, -1)}`, graph: build.graph, parameters: build.parameters };
}

/** rows [N, C] of the residual stream -> whatever `finish` makes of the head's features and vocabulary matrix. */
export function buildHead(context: SegmentContext, finish: (head: HeadOutput, build: SegmentBuilder) => void): Segment {
  const { model, options } = context;
  const build = new SegmentBuilder({ ...options, prefix: "" });
  const rows = build.graph.input("rows", { dtype: "float32", shape: [dim("rows"), model.hiddenSize] });
  finish(model.head(build, rows), build);
  return { name: "head", graph: build.graph, parameters: build.parameters };
}

/** Document id of keys that every document sees. */
export const everyDocument = -2;

/**
 * Additive masks for one kind of attention: 0 where a query may look, -1e9 where not. A query sees keys of its own
 * document at its own or an earlier position, and within the window where there is one.
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
  const t = divideDims(T, chunks);
  for (let chunk = 0; chunk < chunks; chunk++) {
    const seen = keysSeen({ tokens: T, chunks, chunk, past });
    const rows = (x: Value): Value => reshape(slice(x, 1, { start: multiplyDims(chunk, t), size: t }), [batchDim, 1, 1, t, 1]);
    const columns = (x: Value): Value => reshape(slice(x, 1, { start: 0, size: seen }), [batchDim, 1, 1, 1, seen]);
    const [queryPosition, keyPosition] = [rows(queryPositions), columns(keyPositions)];
    let sameDocument = equal(rows(queryDocuments), columns(keyDocuments));
    if (past !== 0) sameDocument = logicalOr(sameDocument, equal(columns(keyDocuments), constant(graph, everyDocument, "int64")));
    let visible = logicalAnd(sameDocument, greaterOrEqual(queryPosition, keyPosition));
    if (kind.slidingWindow !== undefined) {
      visible = logicalAnd(visible, less(sub(queryPosition, keyPosition), constant(graph, kind.slidingWindow, "int64")));
    }
    graph.output(`mask.${chunk}`, where(visible, constant(graph, 0), constant(graph, -1e9)));
  }
  return graph;
}

/** The linear layers of a model's blocks, as methods see them. */
export interface LinearModule {
  readonly module: string;
  readonly inFeatures: number;
  readonly outFeatures: number;
  readonly layout: LinearLayout;
}

/** Every parameter and every linear layer of a model, in order of use. */
export function describeModel(model: CausalLm): { parameters: ParameterSpec[]; linears: LinearModule[] } {
  const linears: LinearModule[] = [];
  const recorder: ModelHooks = {
    linear({ module, inFeatures, outFeatures, layout, output }) {
      linears.push({ module, inFeatures, outFeatures, layout });
      return output;
    },
  };
  const context: SegmentContext = { model, chunks: 1, options: { hooks: [recorder], isTraining: false, dtypeOf: () => "float32" } };
  const segments = [
    buildEmbedding(context),
    ...Array.from({ length: model.numHiddenLayers }, (_, layer) => buildBlock(context, { layer, cached: false })),
    buildHead(context, (head, build) => build.parameter(head.vocabulary)),
  ];
  const parameters = new Map<string, ParameterSpec>();
  for (const segment of segments) for (const spec of segment.parameters.values()) parameters.set(spec.name, spec);
  return { parameters: [...parameters.values()], linears };
}
