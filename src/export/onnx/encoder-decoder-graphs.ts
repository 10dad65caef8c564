/**
 * An encoder-decoder as two graphs. The encoder: input_ids, attention_mask -> last_hidden_state. The decoder with its cache:
 * input_ids, encoder_hidden_states, encoder_attention_mask and of every layer past_key_values.N.decoder.key / .value and
 * past_key_values.N.encoder.key / .value -> logits and present.N. ... of the same names.
 * Optimum's merged decoder holds its layers twice behind a switch, use_cache_branch. This one has no switch: keys and values
 * of the source are made for those of its tokens that the cache does not hold yet, all in the first step and none later.
 */
import { logitsOf } from "../../models/layers/vocabulary.ts";
import type { EncoderOutput, KeyValues } from "../../models/model.ts";
import type { SegmentBuilder } from "../../models/segment-builder.ts";
import type { Value } from "../../tensor/graph.ts";
import { broadcastTo, concat, range, reshape, slice, transpose } from "../../tensor/ops/index.ts";
import { addDims, type Dim, dim, multiplyDims, subtractDims } from "../../tensor/shape.ts";
import { readTexts } from "./encoder-graph.ts";
import { batchSize, paddingMask, type StackCache, type WholeGraph, WholeGraphBuilder, type WholeGraphOptions } from "./whole-graph.ts";

export function buildSourceGraph(options: WholeGraphOptions): WholeGraph {
  const whole = new WholeGraphBuilder(options);
  const { hidden } = readTexts(whole, { stack: options.model.encoder!, count: [batchSize] });
  whole.graph.output("last_hidden_state", hidden);
  return whole;
}

export function buildTargetGraph(options: WholeGraphOptions): WholeGraph {
  const { model } = options;
  const whole = new WholeGraphBuilder(options);
  const { graph } = whole;
  const [T, P] = [dim("decoder_sequence_length"), dim("past_decoder_sequence_length")];
  const [S, held] = [dim("encoder_sequence_length"), dim("past_encoder_sequence_length")];
  const sourceMask = whole.int64("encoder_attention_mask", [batchSize, S]);
  const inputIds = whole.int64("input_ids", [batchSize, T]);
  const source = graph.input("encoder_hidden_states", { dtype: "float32", shape: [batchSize, S, model.encoder!.hiddenSize] });
  const fromCache = (layer: number, side: "decoder" | "encoder", tokens: Dim): KeyValues => {
    const input = (part: string): Value =>
      graph.input(`past_key_values.${layer}.${side}.${part}`, {
        ...{ dtype: "float32", shape: [batchSize, model.numKeyValueHeads, tokens, model.headDim] },
      });
    return { key: input("key"), value: input("value") };
  };
  const toCache = (layer: number, side: "decoder" | "encoder", { key, value }: KeyValues): void => {
    graph.output(`present.${layer}.${side}.key`, key);
    graph.output(`present.${layer}.${side}.value`, value);
  };
  const cache: StackCache = {
    tokens: P,
    past: (layer) => fromCache(layer, "decoder", P),
    present: (layer, present) => toCache(layer, "decoder", present),
  };
  const missing = slice(source, 1, { start: held, size: subtractDims(S, held) });
  const masks = [paddingMask(sourceMask)];
  const encoded = (build: SegmentBuilder, layer: number): EncoderOutput => {
    const made = model.crossKeyValues!(build, missing);
    const past = fromCache(layer, "encoder", held);
    const join = (before: Value, after: Value): Value => concat([before, headsFirst(after, model)], 2);
    const all = { key: join(past.key, made.key), value: join(past.value, made.value) };
    toCache(layer, "encoder", all);
    return { key: headsLast(all.key), value: headsLast(all.value), masks };
  };
  // Targets are not padded: what has ended is written on, and cut off later.
  const places = slice(range(graph, addDims(P, T)), 0, { start: P, size: T });
  const positionIds = broadcastTo(reshape(places, [1, T]), [batchSize, T]);
  const hidden = whole.stack({ stack: model, tokens: { inputIds, positionIds }, cache, encoded });
  const rows = reshape(hidden, [multiplyDims(batchSize, T), model.hiddenSize]);
  const logits = whole.segment("", (build) => logitsOf(model.head(build, rows), build));
  graph.output("logits", reshape(logits, [batchSize, T, model.vocabSize]));
  return whole;
}

interface Heads {
  readonly numKeyValueHeads: number;
  readonly headDim: number;
}

/** [B, S, heads * D] -> [B, heads, S, D]. */
function headsFirst(x: Value, { numKeyValueHeads, headDim }: Heads): Value {
  const [B, S] = x.shape as [Dim, Dim];
  return transpose(reshape(x, [B, S, numKeyValueHeads, headDim]), [0, 2, 1, 3]);
}

/** [B, heads, S, D] -> [B, S, heads * D]. */
function headsLast(x: Value): Value {
  const [B, heads, S, D] = x.shape as [Dim, Dim, Dim, Dim];
  return reshape(transpose(x, [0, 2, 1, 3]), [B, S, multiplyDims(heads, D)]);
}
