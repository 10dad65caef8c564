/**
 * A model that reads texts whole, without a cache: an encoder, or another model with a head for labels. input_ids, attention_mask
 * and where the family knows them token_type_ids, int64 [B, T] -> what the head says, by the names of transformers' outputs.
 * Positions count the tokens of a text, so padding may stand on either side of it.
 */
import { logitsOf } from "../../models/layers/vocabulary.ts";
import type { LabelHeadName, Model, Stack } from "../../models/model.ts";
import type { Value } from "../../tensor/graph.ts";
import {
  add,
  cast,
  concat,
  constant,
  div,
  equal,
  less,
  logicalAnd,
  matmul,
  range,
  reduceSum,
  reshape,
  slice,
  split,
  where,
} from "../../tensor/ops/index.ts";
import { type Dim, dim, multiplyDims, subtractDims } from "../../tensor/shape.ts";
import { batchSize, paddingMask, type WholeGraph, WholeGraphBuilder, type WholeGraphOptions } from "./whole-graph.ts";

/** Every choice of a question is a text. */
const choicesOfQuestion: Dim = dim("num_choices");

/** Texts of a batch side by side. */
interface Texts {
  readonly whole: WholeGraphBuilder;
  /** int64 [B, T]. */
  readonly inputIds: Value;
  /** After the last block [B, T, C]. */
  readonly hidden: Value;
  /** int64 [B, T]: 1 where a token stands. */
  readonly attentionMask: Value;
  /** int64 [B, T]: how many tokens stand before. */
  readonly positionIds: Value;
}

export function buildEncoderGraph(options: WholeGraphOptions): WholeGraph {
  const { model } = options;
  const whole = new WholeGraphBuilder(options);
  const { labelHead: head } = model;
  const count = head?.name === "multiple-choice" ? [batchSize, choicesOfQuestion] : [batchSize];
  const texts = model.encoder ? readTwice(whole, model) : readTexts(whole, { stack: model, count });
  const outputs = head ? outputsOf[head.name] : vocabularyLogits;
  for (const [name, value] of Object.entries(outputs(texts, options))) whole.graph.output(name, value);
  return whole;
}

/** Inputs, embedding and blocks. @param count the number of texts, as a product: inputs have its factors as their first dimensions */
export function readTexts(whole: WholeGraphBuilder, { stack, count }: { stack: Stack; count: readonly Dim[] }): Texts {
  const T = dim("sequence_length");
  const input = (name: string): Value => reshape(whole.int64(name, [...count, T]), [multiplyDims(...count), T]);
  const [inputIds, attentionMask] = [input("input_ids"), input("attention_mask")];
  const types = stack.readsTokenTypes && { tokenTypeIds: input("token_type_ids") };
  const positionIds = tokensBefore(attentionMask);
  const hidden = whole.stack({ stack, attentionMask, tokens: { inputIds, positionIds, ...types } });
  return { whole, inputIds, attentionMask, positionIds, hidden };
}

/** Both stacks of an encoder-decoder on the same texts, the decoder shifted right (`LabelHead.shifted`). @returns with the decoder's hidden states */
function readTwice(whole: WholeGraphBuilder, model: Model): Texts {
  const source = readTexts(whole, { stack: model.encoder!, count: [batchSize] });
  const { inputIds, attentionMask, positionIds } = source;
  const T = inputIds.shape[1]!;
  const part = (size: Dim): Value => slice(inputIds, 1, { start: 0, size });
  const int64 = (value: number): Value => constant(whole.graph, value, "int64");
  // The first column is never read as it is: a text's first token gives way to the start token, wherever padding stands.
  const before = concat([part(1), part(subtractDims(T, 1))], 1);
  const shifted = where(equal(positionIds, int64(0)), int64(model.labelHead!.shifted!.start), before);
  const hidden = whole.stack({
    ...{ stack: model, tokens: { inputIds: shifted, positionIds }, attentionMask },
    encoded: (build) => ({ ...model.crossKeyValues!(build, source.hidden), masks: [paddingMask(attentionMask)] }),
  });
  return { ...source, hidden };
}

/** Of each token in its own text, int64 [B, T]. */
function tokensBefore(attentionMask: Value): Value {
  const { graph } = attentionMask;
  const T = attentionMask.shape[1]!;
  const places = range(graph, T);
  const isBefore = where(less(reshape(places, [1, T]), reshape(places, [T, 1])), constant(graph, 1), constant(graph, 0)); // [T, T]
  return cast(matmul(cast(attentionMask, "float32"), isBefore, { transposeB: true }), "int64");
}

type Outputs = (texts: Texts, options: WholeGraphOptions) => Readonly<Record<string, Value>>;

const vocabularyLogits: Outputs = ({ whole, hidden }, { model }) => {
  const [B, T] = hidden.shape as [Dim, Dim];
  const logits = whole.segment("", (build) => logitsOf(model.head(build, rowsOf(hidden)), build));
  return { logits: reshape(logits, [B, T, model.vocabSize]) };
};

const labelLogits: Outputs = (texts, options) => ({ logits: labelsOf(texts, tokensForHead(texts, options), options) });

const outputsOf: Readonly<Record<LabelHeadName, Outputs>> = {
  "sequence-classification": labelLogits,
  "token-classification": labelLogits,
  "question-answering"(texts, options) {
    const logits = labelsOf(texts, tokensForHead(texts, options), options);
    const [start, end] = split(logits, 2, [1, 1]).map((one) => reshape(one, one.shape.slice(0, 2))) as [Value, Value];
    return { start_logits: start, end_logits: end };
  },
  "multiple-choice": (texts, options) => ({
    logits: reshape(labelsOf(texts, tokensForHead(texts, options), options), [batchSize, choicesOfQuestion]),
  }),
  // The pooled rows, too: what runs the file may pool the tokens itself.
  "sentence-embeddings"(texts, options) {
    const tokens = tokensForHead(texts, options);
    return { last_hidden_state: tokens, sentence_embedding: labelsOf(texts, tokens, options) };
  },
};

/** Behind the last norm, [B, T, C] or of the width that the family makes of C. */
function tokensForHead({ whole, hidden }: Texts, { model }: WholeGraphOptions): Value {
  const { rows } = model.labelHead!;
  if (!rows) return hidden;
  const made = whole.segment("", (build) => rows(build, rowsOf(hidden)));
  return reshape(made, [...hidden.shape.slice(0, 2), made.shape[1]!]);
}

/** Of each text [B, L], or where the head reads all tokens, of each of them [B, T, L]. */
function labelsOf(texts: Texts, tokens: Value, { model }: WholeGraphOptions): Value {
  const { pools, numLabels, build: labels } = model.labelHead!;
  const [B, T] = tokens.shape as [Dim, Dim];
  const rows = pools === "all" ? rowsOf(tokens) : pooled(tokens, { ...texts, pools });
  const logits = texts.whole.segment("", (build) => labels(build, rows, numLabels));
  return pools === "all" ? reshape(logits, [B, T, numLabels]) : logits;
}

/** [B, T, C] -> [B, C]: the sum of the rows of a text, of which one or all have a share. */
function pooled(tokens: Value, { attentionMask, positionIds, pools }: Texts & { pools: "first" | "last" | "mean" }): Value {
  const { graph } = tokens;
  const [B, T, C] = tokens.shape as [Dim, Dim, Dim];
  const one = constant(graph, 1, "int64");
  const isToken = equal(attentionMask, one);
  const lengths = reduceSum(cast(attentionMask, "float32"), [1], { keepDims: true }); // [B, 1]
  const places = {
    first: () => equal(positionIds, constant(graph, 0, "int64")),
    last: () => equal(add(positionIds, one), cast(lengths, "int64")),
  };
  const chosen = pools === "mean" ? isToken : logicalAnd(isToken, places[pools]());
  const shares = where(chosen, pools === "mean" ? div(constant(graph, 1), lengths) : constant(graph, 1), constant(graph, 0)); // [B, T]
  return reshape(matmul(reshape(shares, [B, 1, T]), tokens), [B, C]);
}

/** [B, T, C] -> [B * T, C]. */
const rowsOf = (tokens: Value): Value => {
  const [B, T, C] = tokens.shape as [Dim, Dim, Dim];
  return reshape(tokens, [multiplyDims(B, T), C]);
};
