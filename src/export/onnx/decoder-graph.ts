/**
 * A whole decoder as one graph with the inputs and outputs that the field's ONNX exports have (Hugging Face Optimum's
 * names, which transformers.js reads): input_ids, attention_mask, position_ids and past_key_values.N.key / .value ->
 * logits, present.N.key / .value. Parameters are inputs under their names in the checkpoint.
 */
import { computeRotaryTables, type RotaryConfig } from "../../models/layers/rotary.ts";
import { logitsOf } from "../../models/layers/vocabulary.ts";
import type { MaskKind, Model } from "../../models/model.ts";
import { type ModelHooks, type ParameterSpec, SegmentBuilder } from "../../models/segment-builder.ts";
import { batchDim, pastTokensDim } from "../../models/segments.ts";
import type { ParameterStorage } from "../../models/storage.ts";
import { Graph, type Value } from "../../tensor/graph.ts";
import { constant, equal, greaterOrEqual, less, logicalAnd, range, reshape, slice, sub, where } from "../../tensor/ops/index.ts";
import { addDims, type Dim, dim, multiplyDims } from "../../tensor/shape.ts";

export interface WholeGraphOptions {
  readonly model: Model;
  readonly hooks: readonly ModelHooks[];
  storageOf(parameter: string): ParameterStorage;
}

export interface WholeGraph {
  readonly graph: Graph;
  /** Graph input -> parameter. */
  readonly parameters: ReadonlyMap<string, ParameterSpec>;
  /** Tables that are no parameters of the checkpoint, by graph input. */
  readonly tables: ReadonlyMap<string, { readonly dims: readonly number[]; readonly data: Float32Array }>;
}

/** Rotary tables stand in the file, so contexts beyond this are not offered; scalings that depend on the length at hand are those of this length. */
const longestTable = 32_768;

export function buildDecoderGraph({ model, hooks, storageOf }: WholeGraphOptions): WholeGraph {
  const graph = new Graph();
  const T = dim("tokenChunk");
  const S = addDims(pastTokensDim, T);
  const parameters = new Map<string, ParameterSpec>();
  const segment = (prefix: string, build: (builder: SegmentBuilder) => Value): Value => {
    const builder = new SegmentBuilder({ prefix, hooks, isTraining: false, storageOf, shared: { graph, inputName: (name) => name } });
    const result = build(builder);
    for (const [name, spec] of builder.parameters) parameters.set(name, spec);
    return result;
  };
  const inputIds = graph.input("input_ids", { dtype: "int64", shape: [batchDim, T] });
  const attentionMask = graph.input("attention_mask", { dtype: "int64", shape: [batchDim, S] });
  const positionIds = graph.input("position_ids", { dtype: "int64", shape: [batchDim, T] });
  const tables = new Map<string, { dims: number[]; data: Float32Array }>();
  const rotaryOf = rotaryInputs(graph, { model, tables });
  const masks = new Map<number | undefined, Value>();
  const maskOf = (kind: MaskKind): Value => {
    const mask = masks.get(kind.slidingWindow) ?? causalMask({ graph, attentionMask, kind, tokens: T, keys: S });
    masks.set(kind.slidingWindow, mask);
    return mask;
  };

  let hidden = segment("", (build) => model.embed(build, { inputIds, positionIds }));
  for (let layer = 0; layer < model.numHiddenLayers; layer++) {
    const cache = { dtype: "float32", shape: [batchDim, model.numKeyValueHeads, pastTokensDim, model.headDim] } as const;
    const past = {
      key: graph.input(`past_key_values.${layer}.key`, cache),
      value: graph.input(`past_key_values.${layer}.value`, cache),
    };
    hidden = segment(model.blockPrefix(layer), (build) => {
      const masks = [maskOf(model.maskKind(layer))];
      const rotary = rotaryOf(model.rotary?.(layer));
      const output = model.block(build, { layer, hidden, positionIds, masks, past, ...(rotary && { rotary }) });
      graph.output(`present.${layer}.key`, output.present.key);
      graph.output(`present.${layer}.value`, output.present.value);
      return output.hidden;
    });
  }
  const logits = segment("", (build) => logitsOf(model.head(build, reshape(hidden, [multiplyDims(batchDim, T), model.hiddenSize])), build));
  graph.output("logits", reshape(logits, [batchDim, T, model.vocabSize]));
  return { graph, parameters, tables };
}

interface MaskOptions {
  readonly graph: Graph;
  /** int64 [B, S]: 1 where a token stands, 0 for padding. */
  readonly attentionMask: Value;
  readonly kind: MaskKind;
  readonly tokens: Dim;
  readonly keys: Dim;
}

/** Additive mask [B, 1, 1, T, S]: a query sees what stands at its own place or before it. */
function causalMask({ graph, attentionMask, kind, tokens, keys }: MaskOptions): Value {
  const places = range(graph, keys);
  const query = reshape(slice(places, 0, { start: pastTokensDim, size: tokens }), [1, 1, 1, tokens, 1]);
  const key = reshape(places, [1, 1, 1, 1, keys]);
  const isToken = reshape(equal(attentionMask, constant(graph, 1, "int64")), [batchDim, 1, 1, 1, keys]);
  let visible = logicalAnd(isToken, greaterOrEqual(query, key));
  if (kind.slidingWindow !== undefined) visible = logicalAnd(visible, less(sub(query, key), constant(graph, kind.slidingWindow, "int64")));
  return where(visible, constant(graph, 0), constant(graph, -1e9));
}

/** The tables of each kind of rotary positions, made when the first layer asks for them. */
function rotaryInputs(
  graph: Graph,
  { model, tables }: { model: Model; tables: Map<string, { dims: number[]; data: Float32Array }> },
): (config: RotaryConfig | undefined) => { cos: Value; sin: Value } | undefined {
  const length = Math.min(model.maxPositionEmbeddings, longestTable);
  const made = new Map<RotaryConfig, { cos: Value; sin: Value }>();
  return (config) => {
    if (!config || made.has(config)) return config && made.get(config);
    const { half, cos, sin } = computeRotaryTables(config, { length, sequenceLength: length });
    const table = (part: string, data: Float32Array): Value => {
      const name = `rotary.${made.size === 0 ? "" : `${made.size}.`}${part}`;
      tables.set(name, { dims: [length, half], data });
      return graph.input(name, { dtype: "float32", shape: [length, half] });
    };
    made.set(config, { cos: table("cos", cos), sin: table("sin", sin) });
    return made.get(config);
  };
}
