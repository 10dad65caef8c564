/** Every training objective. */
import { causalLm } from "./causal-lm.ts";
import { distillation } from "./distillation.ts";

export const objectives = [causalLm, distillation] as const;
