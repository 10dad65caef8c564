/** Hidden spans of a text, written by the decoder: what T5 was pre-trained on. Evaluation hides the same spans every time. */
import { z } from "zod";
import { CheckpointError, ConfigError, DataError, UnsupportedError } from "../base/errors.ts";
import type { TokenizedExample } from "../data/batch.ts";
import { sameToken } from "../data/collators.ts";
import type { Dataset, SourceRow } from "../data/dataset.ts";
import { text } from "../data/formats/text.ts";
import { type CorruptionTokens, corruptSpans, countNoise, longestText } from "../data/span-corruption.ts";
import type { Tokenizer } from "../data/tokenizers/tokenizer.ts";
import { decoderStartOf } from "./decoder-start.ts";
import { tokenizeTexts } from "./examples.ts";
import type { PrepareTaskOptions, Task } from "./task.ts";

const configSchema = z.strictObject({
  name: z.literal("span-corruption"),
  noiseDensity: z.number().gt(0).lt(1).default(0.15).describe("Share of the tokens to hide."),
  meanNoiseSpanLength: z.number().min(1).default(3).describe("Mean length of a hidden span in tokens."),
});
type Config = z.output<typeof configSchema>;

const formats = [text] as const;

export const spanCorruption = {
  name: "span-corruption",
  summary: "Write the hidden spans of plain text, for encoder-decoders with sentinel tokens such as T5: continued pre-training.",
  configSchema,
  formats,
  isNatural: () => false,
  bind({ config, model, checkpointConfig }) {
    if (!model.encoder)
      throw new UnsupportedError(
        `${model.modelType} has no encoder beside its decoder, so it cannot learn span-corruption. Use causal-lm for a decoder, masked-lm for an encoder.`,
      );
    const start = decoderStartOf(checkpointConfig);
    let tokens: CorruptionTokens | undefined;
    return {
      name: "span-corruption",
      collator: sameToken,
      peftTaskType: "SEQ_2_SEQ_LM",
      resolvedConfig: config,
      prepare(rows, options) {
        tokens = { ...tokensOf(options.tokenizer), start };
        return prepare(rows, { ...options, ...config, sentinels: tokens.sentinels });
      },
      forEpoch: (examples, at) => corruptSpans(examples, at, { ...config, ...tokens! }),
    };
  },
} as const satisfies Task<Config>;

/** @throws CheckpointError if the tokenizer lacks them */
function tokensOf(tokenizer: Tokenizer): Omit<CorruptionTokens, "start"> {
  const sentinels: number[] = [];
  for (let id = tokenizer.idOf("<extra_id_0>"); id !== undefined; id = tokenizer.idOf(`<extra_id_${sentinels.length}>`)) sentinels.push(id);
  const lacks =
    sentinels.length === 0 ? "sentinel tokens (<extra_id_0>, <extra_id_1> ...)" : "end token (eos_token in tokenizer_config.json)";
  if (sentinels.length === 0 || tokenizer.eosTokenId === undefined)
    throw new CheckpointError(
      `the tokenizer has no ${lacks}, which span-corruption needs. Use the tokenizer of a T5, or the task seq2seq-lm.`,
    );
  return { sentinels, eos: tokenizer.eosTokenId };
}

interface PrepareOptions extends PrepareTaskOptions, Omit<Config, "name">, Pick<CorruptionTokens, "sentinels"> {}

/** Texts cut into pieces whose sources have the greatest length; nothing is hidden yet. */
function prepare(rows: readonly SourceRow[], options: PrepareOptions): Dataset {
  const { maxLength, sentinels } = options;
  const { format, texts } = tokenizeTexts(rows, options);
  const longest = longestText(maxLength, options);
  const examples: TokenizedExample[] = [];
  let [tokens, supervisedTokens, droppedUnsupervised] = [0, 0, 0];
  for (const { at, ids } of texts) {
    for (let start = 0; start < ids.length; start += longest) {
      const piece = ids.slice(start, start + longest);
      // One token cannot be hidden and be seen.
      if (piece.length < 2) {
        droppedUnsupervised++;
        continue;
      }
      const { hidden, spans } = countNoise(piece.length, options);
      if (spans > sentinels.length)
        throw new ConfigError(
          `${at}: ${piece.length} tokens have ${spans} hidden spans; the tokenizer has ${sentinels.length} sentinels (<extra_id_N>). Lower data.maxLength or task.noiseDensity, or raise task.meanNoiseSpanLength.`,
        );
      examples.push({ encoderInputIds: piece, inputIds: piece, labels: piece });
      supervisedTokens += hidden + spans + 1;
      tokens += piece.length + 2 * spans + 2;
    }
  }
  if (examples.length === 0) throw new DataError("no row has two tokens, of which one could be hidden. Check data.train.");
  const report = { format: format.name, rows: rows.length, examples: examples.length, truncated: 0, droppedOverlong: 0 };
  return { examples, report: { ...report, droppedUnsupervised, tokens, supervisedTokens } };
}
