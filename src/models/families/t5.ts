/**
 * T5, T5 v1.1 and Flan-T5 (gated GELU, untied head): an encoder and a decoder with relative position biases, RMS norms and no
 * biases. Raffel et al. 2019, https://arxiv.org/abs/1910.10683; gated: Shazeer 2020, https://arxiv.org/abs/2002.05202.
 * Attention scores are not scaled; the first block of each stack holds the position bias of all its blocks.
 */
import type { Value } from "../../tensor/graph.ts";
import { add, gelu, mul, relu, rmsNorm } from "../../tensor/ops/index.ts";
import { ConfigReader } from "../config-reader.ts";
import { attention } from "../layers/attention.ts";
import { documentHead, shiftedAnswerHead } from "../layers/encoder-decoder-heads.ts";
import { headLinear } from "../layers/label-heads.ts";
import { relativeBucket } from "../layers/relative-bias.ts";
import type { BlockInput, BlockOutput, CheckpointContent, LabelledBody, Model, ModelFamily, Stack } from "../model.ts";
import type { SegmentBuilder } from "../segment-builder.ts";

const activations = {
  relu: (x: Value): Value => relu(x),
  gelu: (x: Value): Value => gelu(x, { approximate: "none" }),
  gelu_new: (x: Value): Value => gelu(x, { approximate: "tanh" }),
};

export const t5 = {
  name: "t5",
  summary: "T5, T5 v1.1, Flan-T5 (encoder-decoder)",
  create: (config, file) => createT5(new ConfigReader(config), "t5", file),
} as const satisfies ModelFamily;

interface T5Config {
  readonly hiddenSize: number;
  readonly vocabSize: number;
  readonly numHeads: number;
  readonly headDim: number;
  readonly intermediateSize: number;
  readonly epsilon: number;
  readonly isGated: boolean;
  readonly activate: (x: Value) => Value;
  readonly numBuckets: number;
  readonly maxDistance: number;
}

/** For T5 and its relatives, which differ in defaults. */
export function createT5(config: ConfigReader, modelType: string, file?: CheckpointContent): Model {
  const feedForward = config.requireOneOf("feed_forward_proj", ["relu", "gated-gelu", "gated-relu", "gelu"], "relu");
  const shared: T5Config = {
    hiddenSize: config.positiveInteger("d_model"),
    vocabSize: config.positiveInteger("vocab_size"),
    numHeads: config.positiveInteger("num_heads"),
    headDim: config.positiveInteger("d_kv"),
    intermediateSize: config.positiveInteger("d_ff"),
    epsilon: config.number("layer_norm_epsilon", 1e-6),
    isGated: feedForward.startsWith("gated-"),
    activate: feedForward === "gated-gelu" ? activations.gelu_new : activations[feedForward.replace("gated-", "") as "relu"],
    numBuckets: config.positiveInteger("relative_attention_num_buckets", 32),
    maxDistance: config.positiveInteger("relative_attention_max_distance", 128),
  };
  const { hiddenSize: C, vocabSize: V } = shared;
  // T5 scales what enters the head, v1.1 does not; its older configs say so with tie_word_embeddings: false.
  const saysUntied = !config.boolean("tie_word_embeddings", true);
  const scalesOutput = config.boolean("scale_decoder_outputs", !saysUntied);
  const tieWordEmbeddings = !(file ? file.holds("lm_head.weight") : saysUntied);
  const numLayers = config.positiveInteger("num_layers");
  const numDecoderLayers = config.positiveInteger("num_decoder_layers", numLayers);
  const shifted = { start: config.tokenId("decoder_start_token_id", 0), end: config.tokenId("eos_token_id", 1) };
  const dropout = config.dropout("classifier_dropout", 0);
  const finalNorm =
    (base: Base) =>
    (build: SegmentBuilder, rows: Value): Value =>
      norm(build, `${base}decoder.final_layer_norm`, rows, shared);
  const encoder = (base: Base): Stack => createStack(shared, { base, name: "encoder", numHiddenLayers: numLayers });
  const head = (base: Base) => (build: SegmentBuilder, rows: Value) => {
    const normed = finalNorm(base)(build, rows);
    const name = tieWordEmbeddings ? `${base}shared.weight` : "lm_head.weight";
    return {
      features: scalesOutput ? mul(normed, C ** -0.5) : normed,
      vocabulary: { name, shape: [V, C], kind: "embedding" as const },
    };
  };
  const both = (base: Base): LabelledBody => ({
    ...createStack(shared, { base, name: "decoder", numHiddenLayers: numDecoderLayers }),
    ...{ encoder: encoder(base), head: head(base) },
  });
  return {
    ...both(""),
    ...{ modelType, vocabSize: V, tieWordEmbeddings },
    labelHeads: {
      "sequence-classification": documentHead({ shifted, dropout, rows: finalNorm("transformer."), body: both("transformer.") }),
      "token-classification": {
        ...{ pools: "all", modules: ["classifier"], body: { ...encoder("transformer."), head: head("transformer.") } },
        build: (build, rows, outFeatures) => headLinear(build, { name: "classifier", input: build.dropout(rows, dropout), outFeatures }),
      },
      "question-answering": shiftedAnswerHead({ shifted, rows: finalNorm("") }),
    },
  };
}

/** What stands in front of the names of both stacks; some heads hold them as a model of its own. */
type Base = "" | "transformer.";

const norm = (build: SegmentBuilder, name: string, x: Value, { epsilon }: T5Config): Value =>
  rmsNorm(x, build.parameter({ name: `${name}.weight`, shape: [Number(x.shape.at(-1))], kind: "norm" }), { epsilon });

interface T5Stack {
  readonly base: Base;
  readonly name: "encoder" | "decoder";
  readonly numHiddenLayers: number;
}

function createStack(config: T5Config, { base, name, numHiddenLayers }: T5Stack): Stack {
  const { hiddenSize: C, vocabSize: V, numHeads, headDim } = config;
  const isEncoder = name === "encoder";
  const heads = { numHeads, numKeyValueHeads: numHeads, headDim };
  const width = numHeads * headDim;
  const project = (build: SegmentBuilder, module: string, input: Value, outFeatures = width): Value =>
    build.linear({ name: module, input, outFeatures });
  const layer = (build: SegmentBuilder, index: number): string => build.nameOf(`layer.${index}.layer_norm`);
  const joined = (build: SegmentBuilder, module: "attention" | "mlp", input: Value, branch: Value): Value =>
    build.graph.keep(add(input, build.residual(branch, { module, input })));

  function selfAttention(build: SegmentBuilder, hidden: Value, { masks, past, positionBias }: BlockInput) {
    const x = norm(build, layer(build, 0), hidden, config);
    const [query, key, value] = ["q", "k", "v"].map((part) => project(build, `layer.0.SelfAttention.${part}`, x)) as [Value, Value, Value];
    const { output, present } = attention({ ...heads, query, key, value, scale: 1, masks, past, positionBias, isBidirectional: isEncoder });
    return { hidden: joined(build, "attention", hidden, project(build, "layer.0.SelfAttention.o", output, C)), present };
  }

  function crossAttention(build: SegmentBuilder, hidden: Value, { encoded }: BlockInput): Value {
    const query = project(build, "layer.1.EncDecAttention.q", norm(build, layer(build, 1), hidden, config));
    const { key, value, masks } = encoded!;
    const { output } = attention({ ...heads, query, key, value, scale: 1, masks, isBidirectional: true });
    return joined(build, "attention", hidden, project(build, "layer.1.EncDecAttention.o", output, C));
  }

  function feedForward(build: SegmentBuilder, hidden: Value, index: number): Value {
    const x = norm(build, layer(build, index), hidden, config);
    const module = `layer.${index}.DenseReluDense`;
    const wide = (part: string): Value => build.graph.keep(project(build, `${module}.${part}`, x, config.intermediateSize));
    const inner = config.isGated ? mul(config.activate(wide("wi_0")), wide("wi_1")) : config.activate(wide("wi"));
    return joined(build, "mlp", hidden, project(build, `${module}.wo`, inner, C));
  }

  return {
    ...{ hiddenSize: C, numHiddenLayers, numAttentionHeads: numHeads, numKeyValueHeads: numHeads, headDim },
    // Relative positions have no end of their own; this is what the checkpoints were trained on.
    maxPositionEmbeddings: 512,
    maskKind: () => (isEncoder ? { isBidirectional: true } : {}),
    blockPrefix: (index) => `${base}${name}.block.${index}.`,
    relativeBias: {
      table: {
        ...{ name: `${base}${name}.block.0.layer.0.SelfAttention.relative_attention_bias.weight`, kind: "embedding" },
        shape: [config.numBuckets, numHeads],
      },
      bucketOf: (distance) => relativeBucket(distance, { ...config, isBidirectional: isEncoder }),
      farthestDistance: config.maxDistance,
    },
    embed: (build, { inputIds }) =>
      build.embedded(build.rows({ name: `${base}shared.weight`, shape: [V, C], kind: "embedding" }, inputIds)),
    block(build, input): BlockOutput {
      const attended = selfAttention(build, input.hidden, input);
      const middle = isEncoder ? attended.hidden : crossAttention(build, attended.hidden, input);
      const hidden = feedForward(build, middle, isEncoder ? 1 : 2);
      const isLast = isEncoder && input.layer === numHiddenLayers - 1;
      return { hidden: isLast ? norm(build, `${base}encoder.final_layer_norm`, hidden, config) : hidden, present: attended.present };
    },
    ...(!isEncoder && {
      crossKeyValues: (build: SegmentBuilder, encoderHidden: Value) => ({
        key: project(build, "layer.1.EncDecAttention.k", encoderHidden),
        value: project(build, "layer.1.EncDecAttention.v", encoderHidden),
      }),
    }),
  };
}
