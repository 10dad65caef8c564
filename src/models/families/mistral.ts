/** Mistral: Llama with a sliding attention window in every layer. https://arxiv.org/abs/2310.06825 */

import { ConfigReader } from "../config-reader.ts";
import { createGatedDecoder, readGatedDecoderConfig } from "../layers/gated-decoder.ts";
import type { ModelFamily } from "../model.ts";

export const mistral = {
  name: "mistral",
  summary: "Mistral 7B and relatives",
  create(config) {
    const window = config.sliding_window;
    return createGatedDecoder({
      ...readGatedDecoderConfig(new ConfigReader(config), "mistral"),
      answersWith: "model",
      slidingWindow: () => (typeof window === "number" ? window : undefined),
    });
  },
} as const satisfies ModelFamily;
