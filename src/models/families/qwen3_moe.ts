/** Qwen3, mixture of experts: Qwen3 whose MLPs, in all blocks or some, are many small experts. https://arxiv.org/abs/2505.09388 */
import { ConfigReader } from "../config-reader.ts";
import { createGatedDecoder, gatedMlp, readGatedDecoderConfig } from "../layers/gated-decoder.ts";
import { readRouting, sparseExperts } from "../layers/sparse-experts.ts";
import { windowByLayer } from "../layers/window-by-layer.ts";
import type { ModelFamily } from "../model.ts";

export const qwen3Moe = {
  name: "qwen3_moe",
  summary: "Qwen3 (mixture of experts)",
  create(raw) {
    // transformers 5 writes the number of experts under a name that the published checkpoints do not have.
    const config = new ConfigReader({ num_local_experts: raw.num_experts, head_dim: 128, ...raw });
    const decoder = readGatedDecoderConfig(config, "qwen3_moe");
    const step = config.positiveInteger("decoder_sparse_step", 1);
    const denseLayers = new Set(config.list("mlp_only_layers"));
    const sizes = {
      numExperts: config.positiveInteger("num_local_experts", 128),
      expertsPerToken: config.positiveInteger("num_experts_per_tok", 8),
    };
    const experts = sparseExperts({
      ...{ ...decoder, ...sizes },
      intermediateSize: config.positiveInteger("moe_intermediate_size"),
      normalisesShares: config.boolean("norm_topk_prob", false),
      router: "mlp.gate",
      moduleInMemory: "mlp",
      expert(index) {
        const module = `mlp.experts.${index}`;
        return [`${module}.gate_proj`, `${module}.up_proj`, `${module}.down_proj`];
      },
    });
    return createGatedDecoder({
      ...decoder,
      answersWith: "transformer",
      queryKeyNorm: "heads",
      slidingWindow: windowByLayer(raw),
      routing: readRouting(config, sizes),
      mlp: (build, x, layer) => (denseLayers.has(layer) || (layer + 1) % step !== 0 ? gatedMlp(build, x, decoder) : experts(build, x)),
    });
  },
} as const satisfies ModelFamily;
