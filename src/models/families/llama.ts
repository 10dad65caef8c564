/** Llama 1-3, SmolLM2, TinyLlama and others with this model_type. https://arxiv.org/abs/2302.13971 */

import { ConfigReader } from "../config-reader.ts";
import { createGatedDecoder, readGatedDecoderConfig } from "../layers/gated-decoder.ts";
import type { ModelFamily } from "../model.ts";

export const llama = {
  name: "llama",
  summary: "Llama, SmolLM2, TinyLlama",
  create: (config) => createGatedDecoder({ ...readGatedDecoderConfig(new ConfigReader(config), "llama"), answersWith: "transformer" }),
} as const satisfies ModelFamily;
