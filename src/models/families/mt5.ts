/** mT5: T5 v1.1 in 101 languages; gated GELU, output not scaled. Xue et al. 2020, https://arxiv.org/abs/2010.11934. */
import { ConfigReader } from "../config-reader.ts";
import type { ModelFamily } from "../model.ts";
import { createT5 } from "./t5.ts";

export const mt5 = {
  name: "mt5",
  summary: "mT5 (encoder-decoder)",
  create: (config, file) =>
    createT5(new ConfigReader({ feed_forward_proj: "gated-gelu", ...config, scale_decoder_outputs: false }), "mt5", file),
} as const satisfies ModelFamily;
