/** Mixtral: Mistral with eight MLPs in every block, of which a token takes two. https://arxiv.org/abs/2401.04088 */
import { ConfigReader } from "../config-reader.ts";
import { createGatedDecoder, readGatedDecoderConfig } from "../layers/gated-decoder.ts";
import { readRouting, sparseExperts } from "../layers/sparse-experts.ts";
import type { ModelFamily } from "../model.ts";

export const mixtral = {
  name: "mixtral",
  summary: "Mixtral (sparse mixture of experts)",
  create(raw) {
    const config = new ConfigReader(raw);
    const decoder = readGatedDecoderConfig(config, "mixtral");
    const window = config.optionalNumber("sliding_window");
    const sizes = {
      numExperts: config.positiveInteger("num_local_experts", 8),
      expertsPerToken: config.positiveInteger("num_experts_per_tok", 2),
    };
    return createGatedDecoder({
      ...decoder,
      answersWith: "model",
      slidingWindow: () => window,
      routing: readRouting(config, sizes),
      mlp: sparseExperts({
        ...{ ...decoder, ...sizes },
        normalisesShares: true,
        router: "block_sparse_moe.gate",
        moduleInMemory: "mlp",
        expert(index) {
          const module = `block_sparse_moe.experts.${index}`;
          return [`${module}.w1`, `${module}.w3`, `${module}.w2`];
        },
      }),
    });
  },
} as const satisfies ModelFamily;
