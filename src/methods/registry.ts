/** Every fine-tuning method. */
import { bitfit } from "./bitfit.ts";
import { freeze } from "./freeze.ts";
import { full } from "./full.ts";
import { ia3 } from "./ia3.ts";
import { lastLayers } from "./last-layers.ts";
import { lora } from "./lora.ts";
import { newTokens } from "./new-tokens.ts";

export const methods = [lora, ia3, newTokens, bitfit, lastLayers, full, freeze] as const;
