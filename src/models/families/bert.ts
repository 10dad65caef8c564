/** BERT: an encoder that learned to fill in hidden tokens, with token types for pairs of texts. Devlin et al. 2018, https://arxiv.org/abs/1810.04805. */
import { tanh } from "../../tensor/ops/index.ts";
import { ConfigReader } from "../config-reader.ts";
import { activations } from "../layers/activations.ts";
import { type EncoderHeadsOptions, encoderLabelHeads } from "../layers/encoder-heads.ts";
import { createPostNormEncoder, type PostNormNames } from "../layers/post-norm-encoder.ts";
import type { ModelFamily } from "../model.ts";

/** The names of a block, which RoBERTa kept. */
export const bertBlock: PostNormNames["block"] = {
  ...{ query: "attention.self.query", key: "attention.self.key", value: "attention.self.value" },
  ...{ output: "attention.output.dense", attentionNorm: "attention.output.LayerNorm" },
  ...{ up: "intermediate.dense", down: "output.dense", outputNorm: "output.LayerNorm" },
};

/** The part of config.json that BERT and RoBERTa write alike. */
export function readBertConfig(config: ConfigReader) {
  config.requireOneOf("position_embedding_type", ["absolute"], "absolute");
  return {
    vocabSize: config.positiveInteger("vocab_size"),
    hiddenSize: config.positiveInteger("hidden_size"),
    intermediateSize: config.positiveInteger("intermediate_size"),
    numHiddenLayers: config.positiveInteger("num_hidden_layers"),
    numAttentionHeads: config.positiveInteger("num_attention_heads"),
    positions: config.positiveInteger("max_position_embeddings", 512),
    tokenTypes: config.positiveInteger("type_vocab_size", 2),
    epsilon: config.number("layer_norm_eps", 1e-12),
    activate: activations[config.requireOneOf("hidden_act", Object.keys(activations), "gelu")]!,
  };
}

/** Of the heads for labels; transformers' class for answers has none. */
export function readBertDropout(config: ConfigReader): EncoderHeadsOptions["dropout"] {
  const dropout = config.dropout("classifier_dropout", config.dropout("hidden_dropout_prob", 0.1));
  return { "sequence-classification": dropout, "multiple-choice": dropout, "token-classification": dropout };
}

export const bert = {
  name: "bert",
  summary: "BERT (encoder)",
  create(raw) {
    const config = new ConfigReader(raw);
    return createPostNormEncoder({
      ...readBertConfig(config),
      ...{ modelType: "bert", firstPosition: 0 },
      names: {
        ...{ embeddings: "bert.embeddings", blocks: "bert.encoder.layer", block: bertBlock },
        head: {
          ...{ dense: "cls.predictions.transform.dense", norm: "cls.predictions.transform.LayerNorm", bias: "cls.predictions.bias" },
          ...{ decoder: "cls.predictions.decoder", modules: ["cls"] },
        },
      },
      labelHeads: ({ dense }) =>
        encoderLabelHeads({ pool: (build, rows) => tanh(dense(build, "bert.pooler.dense", rows)), dropout: readBertDropout(config) }),
    });
  },
} as const satisfies ModelFamily;
