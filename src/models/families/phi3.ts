/** Phi-3 and Phi-4: Llama with query, key and value in one projection, and gate and up in another. https://arxiv.org/abs/2404.14219 */
import { mul, split } from "../../tensor/ops/index.ts";
import { ConfigReader } from "../config-reader.ts";
import { createGatedDecoder, readGatedDecoderConfig } from "../layers/gated-decoder.ts";
import type { ModelFamily } from "../model.ts";

export const phi3 = {
  name: "phi3",
  summary: "Phi-3, Phi-4",
  create(raw) {
    const config = new ConfigReader({ rms_norm_eps: 1e-5, ...raw });
    const base = readGatedDecoderConfig(config, "phi3");
    const { hiddenSize, intermediateSize, headDim, numAttentionHeads, numKeyValueHeads, activation } = base;
    const widths = [numAttentionHeads, numKeyValueHeads, numKeyValueHeads].map((heads) => heads * headDim);
    const window = config.optionalNumber("sliding_window");
    return createGatedDecoder({
      ...base,
      slidingWindow: () => window,
      queryKeyValue(build, x) {
        const joint = build.linear({ name: "self_attn.qkv_proj", input: x, outFeatures: widths.reduce((sum, width) => sum + width) });
        const [query, key, value] = split(joint, 2, widths);
        return [query!, key!, value!];
      },
      mlp(build, x) {
        const joint = build.linear({ name: "mlp.gate_up_proj", input: x, outFeatures: 2 * intermediateSize });
        const [gate, up] = split(build.graph.keep(joint), 2, [intermediateSize, intermediateSize]);
        return build.linear({ name: "mlp.down_proj", input: mul(activation(gate!), up!), outFeatures: hiddenSize });
      },
    });
  },
} as const satisfies ModelFamily;
