/** Granite 3: Llama with four factors: on embeddings, attention scores, branches and logits. https://github.com/ibm-granite/granite-3.0-language-models */
import { ConfigReader } from "../config-reader.ts";
import { createGatedDecoder, readGatedDecoderConfig } from "../layers/gated-decoder.ts";
import type { ModelFamily } from "../model.ts";

export const granite = {
  name: "granite",
  summary: "Granite 3 (dense)",
  create(raw) {
    const config = new ConfigReader(raw);
    return createGatedDecoder({
      ...readGatedDecoderConfig(config, "granite"),
      embeddingFactor: config.number("embedding_multiplier", 1),
      residualFactor: config.number("residual_multiplier", 1),
      attentionScale: config.number("attention_multiplier", 1),
      logitFactor: 1 / config.number("logits_scaling", 1),
    });
  },
} as const satisfies ModelFamily;
