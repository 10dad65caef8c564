/** Every training objective. */
import { causalLm } from "./causal-lm.ts";

export const objectives = [causalLm] as const;
