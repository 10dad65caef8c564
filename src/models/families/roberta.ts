/**
 * RoBERTa: BERT trained longer, without pairs in mind. Liu et al. 2019, https://arxiv.org/abs/1907.11692.
 * Positions count from padding_idx + 1, and the heads are its own.
 */
import { tanh } from "../../tensor/ops/index.ts";
import { ConfigReader } from "../config-reader.ts";
import { encoderLabelHeads } from "../layers/encoder-heads.ts";
import { headLinear } from "../layers/label-heads.ts";
import { createPostNormEncoder } from "../layers/post-norm-encoder.ts";
import type { ModelFamily } from "../model.ts";
import { bertBlock, readBertConfig, readBertDropout } from "./bert.ts";

export const roberta = {
  name: "roberta",
  summary: "RoBERTa (encoder)",
  create(raw) {
    const config = new ConfigReader(raw);
    return createPostNormEncoder({
      ...readBertConfig(config),
      ...{ modelType: "roberta", firstPosition: config.number("pad_token_id", 1) + 1 },
      names: {
        ...{ embeddings: "roberta.embeddings", blocks: "roberta.encoder.layer", block: bertBlock },
        head: {
          ...{ dense: "lm_head.dense", norm: "lm_head.layer_norm", bias: "lm_head.bias", decoder: "lm_head.decoder" },
          modules: ["lm_head"],
        },
      },
      labelHeads({ dense }) {
        const width = config.positiveInteger("hidden_size");
        const dropout = readBertDropout(config);
        const own = encoderLabelHeads({
          pool(build, rows) {
            const input = build.dropout(rows, dropout["sequence-classification"]!);
            return tanh(headLinear(build, { name: "classifier.dense", input, outFeatures: width }));
          },
          ...{ dropout, poolModules: ["classifier.dense"], documentModule: "classifier.out_proj" },
        });
        const pooled = encoderLabelHeads({
          pool: (build, rows) => tanh(dense(build, "roberta.pooler.dense", rows)),
          dropout: { "multiple-choice": config.dropout("hidden_dropout_prob", 0.1) },
        });
        return { ...own, "multiple-choice": pooled["multiple-choice"]! };
      },
    });
  },
} as const satisfies ModelFamily;
