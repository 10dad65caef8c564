/** Every fine-tuning method. */
import { bitfit } from "./bitfit.ts";
import { bottleneck } from "./bottleneck.ts";
import { freeze } from "./freeze.ts";
import { full } from "./full.ts";
import { ia3 } from "./ia3.ts";
import { lastLayers } from "./last-layers.ts";
import { lora } from "./lora/lora.ts";
import { newTokens } from "./new-tokens.ts";
import { pTuning } from "./p-tuning.ts";
import { prefixTuning } from "./prefix-tuning.ts";
import { promptTuning } from "./prompt-tuning.ts";
import { vera } from "./vera.ts";

export const methods = [
  lora,
  vera,
  ia3,
  promptTuning,
  pTuning,
  prefixTuning,
  bottleneck,
  newTokens,
  bitfit,
  lastLayers,
  full,
  freeze,
] as const;
