/** OLMo 2: norms behind attention and MLP instead of before them, and over all query and all key heads together. https://arxiv.org/abs/2501.00656 */
import { ConfigReader } from "../config-reader.ts";
import { createGatedDecoder, readGatedDecoderConfig } from "../layers/gated-decoder.ts";
import type { ModelFamily } from "../model.ts";

export const olmo2 = {
  name: "olmo2",
  summary: "OLMo 2",
  create: (config) =>
    createGatedDecoder({
      ...readGatedDecoderConfig(new ConfigReader({ rms_norm_eps: 1e-5, ...config }), "olmo2"),
      queryKeyNorm: "whole",
      norms: { afterAttention: "post_attention_layernorm", afterMlp: "post_feedforward_layernorm" },
    }),
} as const satisfies ModelFamily;
