/** Rows to training examples: format, tokens, labels, length policy; everything that was changed or dropped is counted. */
import { DataError, TunesmithError } from "../base/errors.ts";
import { ignoredLabel, type TokenizedExample } from "./batch.ts";
import type { DataFormat, Row, Sample } from "./formats/format.ts";
import { chooseFormat } from "./formats/registry.ts";
import { type ChatTemplate, createChatTemplate, plainTemplate } from "./templates/chat-template.ts";
import { type LossOn, tokenizeSample } from "./templates/tokenize-sample.ts";
import type { Tokenizer } from "./tokenizers/tokenizer.ts";

/** A row with where it stands, for messages. */
export interface SourceRow {
  readonly row: Row;
  /** `file:line`, or `file row n` where lines mean nothing. */
  readonly at: string;
}

export type OverlongPolicy = "truncate" | "drop" | "error";

export interface PrepareOptions {
  readonly rows: readonly SourceRow[];
  readonly format: string;
  readonly tokenizer: Tokenizer;
  /** Rows of the model's embedding; ids beyond are refused. */
  readonly vocabSize: number;
  readonly lossOn: LossOn;
  readonly maxLength: number;
  readonly overlong: OverlongPolicy;
}

export interface DatasetReport {
  readonly format: string;
  readonly rows: number;
  readonly examples: number;
  readonly truncated: number;
  readonly droppedOverlong: number;
  readonly droppedUnsupervised: number;
  readonly tokens: number;
  readonly supervisedTokens: number;
  /** "checkpoint" or "plain": whose chat template was used; absent for text. */
  readonly chatTemplate?: "checkpoint" | "plain";
}

export interface Dataset {
  readonly examples: readonly TokenizedExample[];
  readonly report: DatasetReport;
}

/** @throws DataError naming the row, if one cannot be read; or if nothing is left to learn from */
export function prepareDataset(options: PrepareOptions): Dataset {
  const { rows, tokenizer, maxLength } = options;
  if (rows.length === 0) throw new DataError("the data set is empty. Check data.train: it must name files with at least one row.");
  const format = chooseFormat(
    options.format,
    rows.map(({ row }) => row),
  );
  const template = chatTemplateOf(tokenizer);
  const examples: TokenizedExample[] = [];
  let [truncated, droppedOverlong, droppedUnsupervised] = [0, 0, 0];
  let chats = false;
  for (const { row, at } of rows) {
    const sample = readRow(format, { row, at });
    chats ||= sample.kind === "conversation";
    const example = atRow(at, () => tokenizeSample(sample, { tokenizer, template, lossOn: options.lossOn }));
    checkIds(example, { at, vocabSize: options.vocabSize });
    let pieces = [example];
    if (example.inputIds.length > maxLength) {
      if (sample.kind === "text") pieces = cut(example, maxLength);
      else if (options.overlong === "error")
        throw new DataError(
          `${at}: the row has ${example.inputIds.length} tokens; data.maxLength is ${maxLength}. Raise it, or set data.overlong to truncate or drop.`,
        );
      else if (options.overlong === "drop") {
        droppedOverlong++;
        continue;
      } else {
        truncated++;
        pieces = [{ inputIds: example.inputIds.slice(0, maxLength), labels: example.labels.slice(0, maxLength) }];
      }
    }
    for (const piece of pieces) {
      // The first token is never predicted, so its label does not count.
      if (piece.labels.subarray(1).some((label) => label !== ignoredLabel)) examples.push(piece);
      else droppedUnsupervised++;
    }
  }
  if (examples.length === 0) {
    throw new DataError(
      `no row has a token to learn from: of ${rows.length} rows ${droppedUnsupervised} have all labels masked and ${droppedOverlong} are longer than data.maxLength ${maxLength}. Check data.lossOn, data.format (here: ${format.name}) and data.maxLength.`,
    );
  }
  const tokens = examples.reduce((sum, { inputIds }) => sum + inputIds.length, 0);
  const supervisedTokens = examples.reduce(
    (sum, { labels }) => sum + labels.subarray(1).reduce((n, label) => n + Number(label !== ignoredLabel), 0),
    0,
  );
  return {
    examples,
    report: {
      ...{
        format: format.name,
        rows: rows.length,
        examples: examples.length,
        truncated,
        droppedOverlong,
        droppedUnsupervised,
        tokens,
        supervisedTokens,
      },
      ...(chats && { chatTemplate: tokenizer.chatTemplate === undefined ? ("plain" as const) : ("checkpoint" as const) }),
    },
  };
}

/** The checkpoint's template, or the plain one where it has none. */
export const chatTemplateOf = (tokenizer: Tokenizer): ChatTemplate =>
  createChatTemplate(tokenizer.chatTemplate ?? plainTemplate, tokenizer);

/** One row as a sample. @throws DataError naming the row */
export function readRow(format: DataFormat, { row, at }: SourceRow): Sample {
  if (!format.matches(row))
    throw new DataError(
      `${at}: the row does not fit the format ${format.name} (${format.summary}); its columns are ${Object.keys(row).join(", ") || "none"}.`,
    );
  return atRow(at, () => format.read(row));
}

/** Says where, if something is wrong with a row; what is wrong with the configuration is so in every row. */
export function atRow<Result>(at: string, action: () => Result): Result {
  try {
    return action();
  } catch (error) {
    throw TunesmithError.isInstance(error) && error.code !== "config" ? new DataError(`${at}: ${error.message}`, { cause: error }) : error;
  }
}

export function checkIds({ inputIds }: Pick<TokenizedExample, "inputIds">, { at, vocabSize }: { at: string; vocabSize: number }): void {
  const wrong = inputIds.find((id) => id < 0 || id >= vocabSize);
  if (wrong !== undefined)
    throw new DataError(
      `${at}: token id ${wrong} is outside the model's vocabulary of ${vocabSize}. The tokenizer does not belong to this model.`,
    );
}

/** Consecutive pieces of at most `size` tokens. */
function cut({ inputIds, labels }: TokenizedExample, size: number): TokenizedExample[] {
  const pieces: TokenizedExample[] = [];
  for (let start = 0; start < inputIds.length; start += size)
    pieces.push({ inputIds: inputIds.slice(start, start + size), labels: labels.slice(start, start + size) });
  return pieces;
}
