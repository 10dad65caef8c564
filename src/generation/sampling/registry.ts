/** Every logits processor, in the order in which transformers' generate() applies them. */
import { epsilonCutoff } from "./epsilon-cutoff.ts";
import { forcedBosTokenId, forcedEosTokenId } from "./forced-tokens.ts";
import { minNewTokens } from "./min-new-tokens.ts";
import { minP } from "./min-p.ts";
import { noRepeatNgramSize } from "./no-repeat-ngram.ts";
import { repetitionPenalty } from "./repetition-penalty.ts";
import { temperature } from "./temperature.ts";
import { topK } from "./top-k.ts";
import { topP } from "./top-p.ts";
import { typicalP } from "./typical-p.ts";

export const processors = [
  repetitionPenalty,
  noRepeatNgramSize,
  minNewTokens,
  forcedBosTokenId,
  forcedEosTokenId,
  temperature,
  topK,
  topP,
  minP,
  typicalP,
  epsilonCutoff,
] as const;
