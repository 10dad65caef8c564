/** Tokens that were hidden, from the text around them: what encoders do by nature. Evaluation hides the same tokens every time. */
import { z } from "zod";
import { CheckpointError, DataError, UnsupportedError } from "../base/errors.ts";
import type { TokenizedExample } from "../data/batch.ts";
import { sameToken } from "../data/collators.ts";
import type { Dataset, SourceRow } from "../data/dataset.ts";
import { text } from "../data/formats/text.ts";
import { maskTokens } from "../data/masking.ts";
import type { Tokenizer } from "../data/tokenizers/tokenizer.ts";
import { requireRoom, tokenizeTexts } from "./examples.ts";
import type { PrepareTaskOptions, Task } from "./task.ts";

const configSchema = z.strictObject({
  name: z.literal("masked-lm"),
  mlmProbability: z
    .number()
    .gt(0)
    .lt(1)
    .default(0.15)
    .describe("Share of the tokens to hide and predict. 0.15 is BERT's, 0.3 ModernBERT's."),
  wholeWords: z.boolean().default(false).describe("Hide all pieces of a word together, which is harder and usually better."),
});
type Config = z.output<typeof configSchema>;

const formats = [text] as const;

export const maskedLm = {
  name: "masked-lm",
  summary: "Fill in hidden tokens of plain text, for encoders.",
  configSchema,
  formats,
  isNatural: (model) => model.maskKind(0).isBidirectional === true,
  bind({ config, model }) {
    if (!model.maskKind(0).isBidirectional)
      throw new UnsupportedError(
        `${model.modelType} sees earlier tokens only, so it cannot fill in hidden ones. Use the task causal-lm, or an encoder such as BERT.`,
      );
    let tokenizer: Tokenizer | undefined;
    return {
      name: "masked-lm",
      collator: sameToken,
      peftTaskType: "FEATURE_EXTRACTION",
      resolvedConfig: config,
      prepare(rows, options) {
        tokenizer = options.tokenizer;
        return prepare(rows, options);
      },
      forEpoch: (examples, at) =>
        maskTokens(examples, at, {
          ...{ probability: config.mlmProbability, wholeWords: config.wholeWords, vocabSize: model.vocabSize },
          tokenizer: tokenizer!,
        }),
    };
  },
} as const satisfies Task<Config>;

/** Texts with the checkpoint's special tokens, cut into pieces of the greatest length. */
function prepare(rows: readonly SourceRow[], options: PrepareTaskOptions): Dataset {
  const { tokenizer, maxLength } = options;
  if (tokenizer.maskTokenId === undefined)
    throw new CheckpointError(
      "the tokenizer has no mask token (mask_token in tokenizer_config.json), which hidden tokens are replaced with. Use the tokenizer that belongs to the model.",
    );
  const { format, texts } = tokenizeTexts(rows, options);
  const { ids: empty } = tokenizer.encodeDocument("");
  const [before, after] = [empty.slice(0, Math.ceil(empty.length / 2)), empty.slice(Math.ceil(empty.length / 2))];
  const room = maxLength - empty.length;
  requireRoom(room, { maxLength, forWhat: "hidden tokens" });
  const examples: TokenizedExample[] = [];
  for (const { ids } of texts) {
    for (let start = 0; start < ids.length; start += room) {
      const inputIds = Int32Array.of(...before, ...ids.slice(start, start + room), ...after);
      examples.push({ inputIds, labels: inputIds });
    }
  }
  if (examples.length === 0) throw new DataError("no row has a token to learn from; all texts are empty. Check data.train.");
  const tokens = examples.reduce((sum, { inputIds }) => sum + inputIds.length, 0);
  const report = {
    format: format.name,
    rows: rows.length,
    examples: examples.length,
    truncated: 0,
    droppedOverlong: 0,
    droppedUnsupervised: 0,
  };
  return { examples, report: { ...report, tokens, supervisedTokens: tokens } };
}
