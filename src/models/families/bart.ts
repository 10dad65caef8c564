/**
 * BART: an encoder and a decoder of GPT's size of block, trained to restore damaged texts; learned positions, norms behind
 * attention and MLP. Lewis et al. 2019, https://arxiv.org/abs/1910.13461.
 */
import type { Value } from "../../tensor/graph.ts";
import { add, constant, layerNorm, mul } from "../../tensor/ops/index.ts";
import { ConfigReader } from "../config-reader.ts";
import { activations } from "../layers/activations.ts";
import { attention } from "../layers/attention.ts";
import { documentHead, shiftedAnswerHead } from "../layers/encoder-decoder-heads.ts";
import type { BlockInput, BlockOutput, ModelFamily, Stack } from "../model.ts";
import type { ParameterSpec, SegmentBuilder } from "../segment-builder.ts";

/** The first rows of the table of positions are not used: a trace of how padding was once numbered. */
const firstPosition = 2;

export const bart = {
  name: "bart",
  summary: "BART (encoder-decoder)",
  create(raw, file) {
    const config = new ConfigReader(raw);
    const C = config.positiveInteger("d_model");
    const V = config.positiveInteger("vocab_size");
    const shared: BartConfig = {
      ...{ hiddenSize: C, vocabSize: V },
      maxPositionEmbeddings: config.positiveInteger("max_position_embeddings", 1024),
      embeddingScale: config.boolean("scale_embedding", false) ? Math.sqrt(C) : 1,
      activate: activations[config.requireOneOf("activation_function", Object.keys(activations), "gelu")]!,
    };
    const stack = (name: "encoder" | "decoder"): Stack =>
      createStack(shared, {
        name,
        numHiddenLayers: config.positiveInteger(`${name}_layers`),
        numHeads: config.positiveInteger(`${name}_attention_heads`),
        intermediateSize: config.positiveInteger(`${name}_ffn_dim`),
      });
    const shifted = { start: config.tokenId("decoder_start_token_id", 2), end: config.tokenId("eos_token_id", 2) };
    // A buffer that adds to the logits; it is not trained.
    const bias = { name: "final_logits_bias", shape: [1, V], kind: "buffer" } as const;
    return {
      ...stack("decoder"),
      ...{ modelType: "bart", vocabSize: V, tieWordEmbeddings: true },
      encoder: stack("encoder"),
      labelHeads: {
        "sequence-classification": documentHead({ shifted, dropout: config.dropout("classifier_dropout", 0) }),
        "question-answering": shiftedAnswerHead({ shifted }),
      },
      head: (_, rows) => ({
        ...{ features: rows, vocabulary: wordEmbeddings(shared) },
        ...((file?.holds(bias.name) ?? false) && { bias }),
      }),
    };
  },
} as const satisfies ModelFamily;

interface BartConfig {
  readonly hiddenSize: number;
  readonly vocabSize: number;
  readonly maxPositionEmbeddings: number;
  readonly embeddingScale: number;
  readonly activate: (x: Value) => Value;
}

interface BartStack {
  readonly name: "encoder" | "decoder";
  readonly numHiddenLayers: number;
  readonly numHeads: number;
  readonly intermediateSize: number;
}

const wordEmbeddings = ({ vocabSize, hiddenSize }: BartConfig): ParameterSpec => ({
  ...{ name: "model.shared.weight", shape: [vocabSize, hiddenSize], kind: "embedding" },
});

function createStack(config: BartConfig, { name, numHiddenLayers, numHeads, intermediateSize }: BartStack): Stack {
  const { hiddenSize: C, maxPositionEmbeddings } = config;
  const isEncoder = name === "encoder";
  const headDim = C / numHeads;
  const heads = { numHeads, numKeyValueHeads: numHeads, headDim, scale: headDim ** -0.5 };
  const dense = (build: SegmentBuilder, module: string, input: Value, outFeatures = C): Value =>
    build.linear({ name: module, input, outFeatures, bias: true });
  const norm = (build: SegmentBuilder, module: string, x: Value): Value =>
    layerNorm(
      x,
      build.parameter({ name: `${module}.weight`, shape: [C], kind: "norm" }),
      build.parameter({ name: `${module}.bias`, shape: [C], kind: "bias" }),
      { epsilon: 1e-5 },
    );
  /** The branch joins the stream, and the norm follows. */
  const joined = (build: SegmentBuilder, { input, branch, module, normName }: Joining): Value =>
    build.graph.keep(norm(build, build.nameOf(normName), build.graph.keep(add(input, build.residual(branch, { module, input })))));

  function selfAttention(build: SegmentBuilder, { hidden, masks, past }: BlockInput) {
    const [query, key, value] = ["q_proj", "k_proj", "v_proj"].map((part) => dense(build, `self_attn.${part}`, hidden)) as [
      Value,
      Value,
      Value,
    ];
    const { output, present } = attention({ ...heads, query, key, value, masks, past, isBidirectional: isEncoder });
    const branch = dense(build, "self_attn.out_proj", output);
    return { present, hidden: joined(build, { input: hidden, branch, module: "attention", normName: "self_attn_layer_norm" }) };
  }

  function crossAttention(build: SegmentBuilder, hidden: Value, { encoded }: BlockInput): Value {
    const { key, value, masks } = encoded!;
    const query = dense(build, "encoder_attn.q_proj", hidden);
    const { output } = attention({ ...heads, query, key, value, masks, isBidirectional: true });
    const branch = dense(build, "encoder_attn.out_proj", output);
    return joined(build, { input: hidden, branch, module: "attention", normName: "encoder_attn_layer_norm" });
  }

  return {
    ...{ hiddenSize: C, numHiddenLayers, numAttentionHeads: numHeads, numKeyValueHeads: numHeads, headDim, maxPositionEmbeddings },
    maskKind: () => (isEncoder ? { isBidirectional: true } : {}),
    blockPrefix: (layer) => `model.${name}.layers.${layer}.`,
    embed(build, { inputIds, positionIds }) {
      const table = {
        name: `model.${name}.embed_positions.weight`,
        shape: [maxPositionEmbeddings + firstPosition, C],
        kind: "embedding",
      } as const;
      const positions = build.rows(table, add(positionIds, constant(build.graph, firstPosition, "int64")));
      const words = build.rows(wordEmbeddings(config), inputIds);
      const scaled = config.embeddingScale === 1 ? words : mul(words, config.embeddingScale);
      const embedded = norm(build, `model.${name}.layernorm_embedding`, build.embedded(add(scaled, positions)));
      return build.residual(embedded, { module: "embedding", input: embedded });
    },
    block(build, input): BlockOutput {
      const attended = selfAttention(build, input);
      const middle = isEncoder ? attended.hidden : crossAttention(build, attended.hidden, input);
      const inner = build.graph.keep(dense(build, "fc1", middle, intermediateSize));
      const branch = dense(build, "fc2", config.activate(inner));
      return { hidden: joined(build, { input: middle, branch, module: "mlp", normName: "final_layer_norm" }), present: attended.present };
    },
    ...(!isEncoder && {
      crossKeyValues: (build: SegmentBuilder, encoderHidden: Value) => ({
        key: dense(build, "encoder_attn.k_proj", encoderHidden),
        value: dense(build, "encoder_attn.v_proj", encoderHidden),
      }),
    }),
  };
}

interface Joining {
  readonly input: Value;
  readonly branch: Value;
  readonly module: "attention" | "mlp";
  readonly normName: string;
}
