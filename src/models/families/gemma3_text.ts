/**
 * Gemma 3 (text): Gemma 2 with norms on query and key heads instead of soft caps, five layers with a sliding window for each
 * without, and another rotary base in those. https://arxiv.org/abs/2503.19786
 */
import { ConfigReader } from "../config-reader.ts";
import { createGatedDecoder } from "../layers/gated-decoder.ts";
import { readRotary } from "../layers/rotary.ts";
import type { ModelFamily } from "../model.ts";
import { readGemmaConfig } from "./gemma2.ts";

export const gemma3Text = {
  name: "gemma3_text",
  summary: "Gemma 3 (text)",
  create(raw) {
    // transformers 5 keeps the two kinds of positions apart inside rope_parameters.
    const nested = raw.rope_parameters as { full_attention?: object; sliding_attention?: object } | undefined;
    const byKind = nested?.full_attention !== undefined;
    const config = new ConfigReader({
      ...{ sliding_window: 4096, head_dim: 256, rope_theta: 1_000_000, ...raw },
      ...(byKind && { rope_parameters: nested.full_attention }),
    });
    const base = readGemmaConfig(config, "gemma3_text");
    const { headDim, maxPositionEmbeddings } = base;
    const localConfig = byKind
      ? config.with({ rope_parameters: nested.sliding_attention })
      : config.with({ rope_parameters: undefined, rope_scaling: undefined, rope_theta: config.number("rope_local_base_freq", 10_000) });
    const local = readRotary(localConfig, { headDim, maxPositionEmbeddings });
    const types = config.list("layer_types");
    const pattern = config.positiveInteger("sliding_window_pattern", 6);
    const window = config.positiveInteger("sliding_window");
    const isLocal = (layer: number): boolean => (types ? types[layer] === "sliding_attention" : (layer + 1) % pattern !== 0);
    return createGatedDecoder({
      ...base,
      queryKeyNorm: "heads",
      rotary: (layer) => (isLocal(layer) ? local : base.rotary(layer)),
      slidingWindow: (layer) => (isLocal(layer) ? window : undefined),
    });
  },
} as const satisfies ModelFamily;
