/** Qwen2 and Qwen2.5: Llama with biases on query, key and value, and a window in upper layers where it is switched on. https://arxiv.org/abs/2407.10671 */

import { ConfigReader } from "../config-reader.ts";
import { createGatedDecoder, readGatedDecoderConfig } from "../layers/gated-decoder.ts";
import { windowByLayer } from "../layers/window-by-layer.ts";
import type { ModelFamily } from "../model.ts";

export const qwen2 = {
  name: "qwen2",
  summary: "Qwen2, Qwen2.5",
  create: (config) =>
    createGatedDecoder({
      ...readGatedDecoderConfig(new ConfigReader(config), "qwen2"),
      answersWith: "transformer",
      queryKeyValueBias: true,
      outputBias: false,
      slidingWindow: windowByLayer(config),
    }),
} as const satisfies ModelFamily;
