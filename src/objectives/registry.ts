/** Every training objective: those over the vocabulary, and those over labels, which tasks bring along. */
import { answerSpan } from "./answer-span.ts";
import { causalLm } from "./causal-lm.ts";
import { distillation } from "./distillation.ts";
import { multiLabelClassification } from "./multi-label-classification.ts";
import { multipleChoice } from "./multiple-choice.ts";
import { multipleNegativesRanking } from "./multiple-negatives-ranking.ts";
import { regression } from "./regression.ts";
import { singleLabelClassification } from "./single-label-classification.ts";

export const objectives = [causalLm, distillation] as const;
export const labelObjectives = [
  singleLabelClassification,
  multiLabelClassification,
  regression,
  answerSpan,
  multipleChoice,
  multipleNegativesRanking,
] as const;
