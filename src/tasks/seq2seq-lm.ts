/**
 * A text in, a text out, for encoder-decoders: translation, summarisation, anything with a source and a target. The decoder
 * reads the target shifted right behind `decoder_start_token_id`, and every token of the target is learned.
 */
import { z } from "zod";
import { DataError, UnsupportedError } from "../base/errors.ts";
import type { TokenizedExample } from "../data/batch.ts";
import { sameToken } from "../data/collators.ts";
import { atRow, checkIds, type Dataset, readRow, type SourceRow } from "../data/dataset.ts";
import { alpaca } from "../data/formats/alpaca.ts";
import type { Sample } from "../data/formats/format.ts";
import { promptCompletion } from "../data/formats/prompt-completion.ts";
import { chooseFormat } from "../data/formats/registry.ts";
import { sourceTarget } from "../data/formats/source-target.ts";
import { fitDocument } from "../data/tokenizers/fit-document.ts";
import { textMetrics } from "../evaluation/task-metrics/registry.ts";
import type { AskedPrompt } from "../evaluation/written-texts.ts";
import { decoderStartOf } from "./decoder-start.ts";
import type { AskOptions, PrepareTaskOptions, Task } from "./task.ts";

const configSchema = z.strictObject({
  name: z.literal("seq2seq-lm"),
  sourcePrefix: z
    .string()
    .default("")
    .describe('Put in front of every source, as T5 was trained with: "summarize: ", "translate English to German: ".'),
  maxTargetLength: z.int().min(2).optional().describe("Longest target in tokens. Default: data.maxLength, which holds for sources."),
});
type Config = z.output<typeof configSchema>;

const formats = [alpaca, promptCompletion, sourceTarget] as const;

export const seq2seqLm = {
  name: "seq2seq-lm",
  summary: "From a source text to a target text, for encoder-decoders: translation, summarisation.",
  configSchema,
  formats,
  textMetrics,
  isNatural: (model) => model.encoder !== undefined,
  bind({ config, model, checkpointConfig }) {
    if (!model.encoder)
      throw new UnsupportedError(
        `${model.modelType} has no encoder beside its decoder, so it cannot learn seq2seq-lm. Use the task causal-lm, or a T5 or BART.`,
      );
    const start = decoderStartOf(checkpointConfig);
    return {
      name: "seq2seq-lm",
      collator: sameToken,
      peftTaskType: "SEQ_2_SEQ_LM",
      resolvedConfig: config,
      prepare: (rows, options) => prepare(rows, { ...options, ...config, start }),
      ask: (rows, options) => ask(rows, { ...options, ...config, start }),
    };
  },
} as const satisfies Task<Config>;

interface PrepareOptions extends PrepareTaskOptions, Omit<Config, "name"> {
  /** `decoder_start_token_id`. */
  readonly start: number;
}

function prepare(rows: readonly SourceRow[], options: PrepareOptions): Dataset {
  const { tokenizer, maxLength, overlong } = options;
  const format = chooseFormat(
    options.format,
    rows.map(({ row }) => row),
    formats,
  );
  const examples: TokenizedExample[] = [];
  let [truncated, droppedOverlong] = [0, 0];
  for (const source of rows) {
    const sample = readRow(format, source);
    const pair = atRow(source.at, () => textsOf(sample));
    const from = fitDocument(tokenizer, { text: options.sourcePrefix + pair.source, maxLength });
    const to = fitDocument(tokenizer, { text: pair.target, maxLength: options.maxTargetLength ?? maxLength });
    if (to.inputIds.length === 0) throw new DataError(`${source.at}: the target is empty. Remove the row.`);
    const isOverlong = from.isTruncated || to.isTruncated;
    if (isOverlong && overlong === "error")
      throw new DataError(
        `${source.at}: source or target is longer than allowed (data.maxLength ${maxLength}). Raise it, or set data.overlong to truncate or drop.`,
      );
    if (isOverlong && overlong === "drop") {
      droppedOverlong++;
      continue;
    }
    truncated += Number(isOverlong);
    for (const inputIds of [from.inputIds, to.inputIds]) checkIds({ inputIds }, { at: source.at, vocabSize: options.model.vocabSize });
    const inputIds = Int32Array.of(options.start, ...to.inputIds.subarray(0, -1));
    examples.push({ inputIds, labels: to.inputIds, encoderInputIds: from.inputIds });
  }
  if (examples.length === 0)
    throw new DataError(`no row is left: ${droppedOverlong} of ${rows.length} are longer than data.maxLength ${maxLength}.`);
  const supervisedTokens = examples.reduce((sum, { labels }) => sum + labels.length, 0);
  const tokens = examples.reduce((sum, { encoderInputIds }) => sum + encoderInputIds!.length, supervisedTokens);
  const report = { format: format.name, rows: rows.length, examples: examples.length, truncated, droppedOverlong, droppedUnsupervised: 0 };
  return { examples, report: { ...report, tokens, supervisedTokens } };
}

/** Sources as in training; what is too long is cut there too. */
function ask(rows: readonly SourceRow[], options: AskOptions & Pick<PrepareOptions, "sourcePrefix" | "start">): AskedPrompt[] {
  const { tokenizer, maxLength, start, sourcePrefix } = options;
  const format = chooseFormat(
    options.format,
    rows.map(({ row }) => row),
    formats,
  );
  return rows.map((row) => {
    const sample = readRow(format, row);
    const { source, target } = atRow(row.at, () => textsOf(sample));
    const { inputIds } = fitDocument(tokenizer, { text: sourcePrefix + source, maxLength });
    return { ids: [start], encoderIds: [...inputIds], text: source, expected: [target] };
  });
}

function textsOf(sample: Sample): { source: string; target: string } {
  if (sample.kind === "completion") return { source: sample.prompt, target: sample.completion };
  if (sample.kind === "conversation") {
    const said = (role: string): string | undefined => sample.messages.findLast((message) => message.role === role)?.content;
    const [source, target] = [said("user"), said("assistant")];
    if (source !== undefined && target !== undefined) return { source, target };
  }
  throw new DataError(`a ${sample.kind} row has no source and target.`);
}
