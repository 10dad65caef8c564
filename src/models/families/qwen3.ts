/** Qwen3 (dense): Llama with RMS norms on query and key heads and an explicit head size. https://arxiv.org/abs/2505.09388 */

import { ConfigReader } from "../config-reader.ts";
import { createGatedDecoder, readGatedDecoderConfig } from "../layers/gated-decoder.ts";
import { windowByLayer } from "../layers/window-by-layer.ts";
import type { ModelFamily } from "../model.ts";

export const qwen3 = {
  name: "qwen3",
  summary: "Qwen3 (dense)",
  create: (config) =>
    createGatedDecoder({
      ...readGatedDecoderConfig(new ConfigReader({ head_dim: 128, ...config }), "qwen3"),
      answersWith: "transformer",
      queryKeyNorm: "heads",
      slidingWindow: windowByLayer(config),
    }),
} as const satisfies ModelFamily;
