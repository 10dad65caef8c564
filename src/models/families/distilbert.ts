/** DistilBERT: half of BERT's blocks, no token types, no pooler. Sanh et al. 2019, https://arxiv.org/abs/1910.01108. */
import { relu } from "../../tensor/ops/index.ts";
import { ConfigReader } from "../config-reader.ts";
import { activations } from "../layers/activations.ts";
import { encoderLabelHeads } from "../layers/encoder-heads.ts";
import { headLinear } from "../layers/label-heads.ts";
import { createPostNormEncoder } from "../layers/post-norm-encoder.ts";
import type { ModelFamily } from "../model.ts";

export const distilbert = {
  name: "distilbert",
  summary: "DistilBERT (encoder)",
  create(raw) {
    const config = new ConfigReader(raw);
    const hiddenSize = config.positiveInteger("dim");
    const ofDocuments = config.dropout("seq_classif_dropout", 0.2);
    return createPostNormEncoder({
      ...{ modelType: "distilbert", firstPosition: 0, tokenTypes: 0, epsilon: 1e-12, hiddenSize },
      vocabSize: config.positiveInteger("vocab_size"),
      intermediateSize: config.positiveInteger("hidden_dim"),
      numHiddenLayers: config.positiveInteger("n_layers"),
      numAttentionHeads: config.positiveInteger("n_heads"),
      positions: config.positiveInteger("max_position_embeddings", 512),
      activate: activations[config.requireOneOf("activation", Object.keys(activations), "gelu")]!,
      names: {
        ...{ embeddings: "distilbert.embeddings", blocks: "distilbert.transformer.layer" },
        block: {
          ...{ query: "attention.q_lin", key: "attention.k_lin", value: "attention.v_lin", output: "attention.out_lin" },
          ...{ attentionNorm: "sa_layer_norm", up: "ffn.lin1", down: "ffn.lin2", outputNorm: "output_layer_norm" },
        },
        head: {
          ...{ dense: "vocab_transform", norm: "vocab_layer_norm", bias: "vocab_projector.bias", decoder: "vocab_projector" },
          modules: ["vocab_transform", "vocab_layer_norm", "vocab_projector"],
        },
      },
      labelHeads: () =>
        encoderLabelHeads({
          pool: (build, rows) => relu(headLinear(build, { name: "pre_classifier", input: rows, outFeatures: hiddenSize })),
          poolModules: ["pre_classifier"],
          dropout: {
            ...{ "sequence-classification": ofDocuments, "multiple-choice": ofDocuments },
            "token-classification": config.dropout("dropout", 0.1),
            "question-answering": config.dropout("qa_dropout", 0.1),
          },
        }),
    });
  },
} as const satisfies ModelFamily;
