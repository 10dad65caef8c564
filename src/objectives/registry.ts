/** Every training objective: those over the vocabulary, and those over labels, which tasks bring along. */
import { causalLm } from "./causal-lm.ts";
import { distillation } from "./distillation.ts";
import { multiLabelClassification } from "./multi-label-classification.ts";
import { regression } from "./regression.ts";
import { singleLabelClassification } from "./single-label-classification.ts";

export const objectives = [causalLm, distillation] as const;
export const labelObjectives = [singleLabelClassification, multiLabelClassification, regression] as const;
