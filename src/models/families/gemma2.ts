/**
 * Gemma 2: norms before and behind every branch, scaled embeddings, soft-capped scores and logits, a sliding window in every
 * other layer. https://arxiv.org/abs/2408.00118
 */
import { ConfigReader } from "../config-reader.ts";
import { createGatedDecoder, type GatedDecoderConfig, readGatedDecoderConfig } from "../layers/gated-decoder.ts";
import type { ModelFamily } from "../model.ts";

export const gemma2 = {
  name: "gemma2",
  summary: "Gemma 2",
  create(raw) {
    const config = new ConfigReader({
      sliding_window: 4096,
      attn_logit_softcapping: 50,
      final_logit_softcapping: 30,
      head_dim: 256,
      ...raw,
    });
    const types = config.list("layer_types");
    const window = config.positiveInteger("sliding_window");
    return createGatedDecoder({
      ...readGemmaConfig(config, "gemma2"),
      attentionSoftCap: optional(raw.attn_logit_softcapping, 50),
      logitSoftCap: optional(raw.final_logit_softcapping, 30),
      slidingWindow: (layer) => ((types ? types[layer] === "sliding_attention" : layer % 2 === 0) ? window : undefined),
    });
  },
} as const satisfies ModelFamily;

/** What all Gemmas have in common. */
export function readGemmaConfig(config: ConfigReader, modelType: string): GatedDecoderConfig {
  const hiddenSize = config.positiveInteger("hidden_size");
  const activation = config.optionalText("hidden_activation") ?? "gelu_pytorch_tanh";
  const base = readGatedDecoderConfig(config.with({ tie_word_embeddings: true, hidden_act: activation }), modelType);
  return {
    ...base,
    norms: {
      ...{ beforeAttention: "input_layernorm", afterAttention: "post_attention_layernorm" },
      ...{ beforeMlp: "pre_feedforward_layernorm", afterMlp: "post_feedforward_layernorm" },
    },
    normsAddOne: true,
    attentionScale: config.number("query_pre_attn_scalar", 256) ** -0.5,
    // Rounded as the reference stores it.
    embeddingFactor: Math.fround(Math.sqrt(hiddenSize)),
  };
}

/** A cap that is null in config.json is none; one that is not there is the family's. */
const optional = (value: unknown, usual: number): number | undefined =>
  value === null ? undefined : typeof value === "number" ? value : usual;
