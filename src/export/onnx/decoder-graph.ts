/** A decoder with its cache: input_ids, attention_mask, position_ids and past_key_values.N.key / .value -> logits, present.N.key / .value. */
import { logitsOf } from "../../models/layers/vocabulary.ts";
import { reshape } from "../../tensor/ops/index.ts";
import { addDims, dim, multiplyDims } from "../../tensor/shape.ts";
import { batchSize, type StackCache, type WholeGraph, WholeGraphBuilder, type WholeGraphOptions } from "./whole-graph.ts";

export function buildDecoderGraph(options: WholeGraphOptions): WholeGraph {
  const { model } = options;
  const whole = new WholeGraphBuilder(options);
  const [T, P] = [dim("sequence_length"), dim("past_sequence_length")];
  const inputIds = whole.int64("input_ids", [batchSize, T]);
  const attentionMask = whole.int64("attention_mask", [batchSize, addDims(P, T)]);
  const positionIds = whole.int64("position_ids", [batchSize, T]);
  const shape = [batchSize, model.numKeyValueHeads, P, model.headDim];
  const cache: StackCache = {
    tokens: P,
    past: (layer) => ({
      key: whole.graph.input(`past_key_values.${layer}.key`, { dtype: "float32", shape }),
      value: whole.graph.input(`past_key_values.${layer}.value`, { dtype: "float32", shape }),
    }),
    present(layer, { key, value }) {
      whole.graph.output(`present.${layer}.key`, key);
      whole.graph.output(`present.${layer}.value`, value);
    },
  };
  const hidden = whole.stack({ stack: model, tokens: { inputIds, positionIds }, attentionMask, cache });
  const rows = reshape(hidden, [multiplyDims(batchSize, T), model.hiddenSize]);
  const logits = whole.segment("", (build) => logitsOf(model.head(build, rows), build));
  whole.graph.output("logits", reshape(logits, [batchSize, T, model.vocabSize]));
  return whole;
}
