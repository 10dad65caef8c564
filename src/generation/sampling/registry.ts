/** Every logits processor, in the order in which transformers' generate() applies them. */
import { minP } from "./min-p.ts";
import { repetitionPenalty } from "./repetition-penalty.ts";
import { temperature } from "./temperature.ts";
import { topK } from "./top-k.ts";
import { topP } from "./top-p.ts";

export const processors = [repetitionPenalty, temperature, topK, topP, minP] as const;
