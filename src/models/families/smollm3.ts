/** SmolLM3: Llama in which some layers have no positions at all (NoPE, https://arxiv.org/abs/2305.19466). */

import { ConfigReader } from "../config-reader.ts";
import { createGatedDecoder, readGatedDecoderConfig } from "../layers/gated-decoder.ts";
import { windowByLayer } from "../layers/window-by-layer.ts";
import type { ModelFamily } from "../model.ts";

export const smollm3 = {
  name: "smollm3",
  summary: "SmolLM3",
  create(config) {
    const reader = new ConfigReader({ rope_theta: 2_000_000, ...config });
    // 1 = the layer uses rotary positions, 0 = it has none; without the list every fourth layer has none.
    const list = reader.list("no_rope_layers");
    const interval = reader.positiveInteger("no_rope_layer_interval", 4);
    const turns = (layer: number): boolean => (list ? list[layer] !== 0 : (layer + 1) % interval !== 0);
    const base = readGatedDecoderConfig(reader, "smollm3");
    return createGatedDecoder({
      ...base,
      answersWith: "transformer",
      rotary: (layer) => (turns(layer) ? base.rotary(layer) : undefined),
      slidingWindow: windowByLayer(config),
    });
  },
} as const satisfies ModelFamily;
