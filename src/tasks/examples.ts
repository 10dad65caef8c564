/** Rows to examples, the same for every task: choose the format, read each row, apply the length policy, count what was changed. */
import { ConfigError, DataError } from "../base/errors.ts";
import type { TokenizedExample } from "../data/batch.ts";
import { documentsOf } from "../data/batches.ts";
import { atRow, checkIds, type Dataset, readRow, type SourceRow } from "../data/dataset.ts";
import type { DataFormat, Sample } from "../data/formats/format.ts";
import { chooseFormat } from "../data/formats/registry.ts";
import { text } from "../data/formats/text.ts";
import type { PrepareTaskOptions, TaskInput } from "./task.ts";

/** Samples of one kind. */
export type SampleOf<Kind extends Sample["kind"]> = Extract<Sample, { kind: Kind }>;

export interface MadeExamples {
  readonly examples: readonly TokenizedExample[];
  /** True if something was cut off to fit the longest length. */
  readonly isTruncated: boolean;
}

export interface ExamplesOptions<Kind extends Sample["kind"]>
  extends Pick<PrepareTaskOptions, "model" | "format" | "maxLength" | "overlong"> {
  readonly formats: readonly DataFormat[];
  /** @throws DataError, which the caller completes with where the row stands */
  make(sample: SampleOf<Kind>): MadeExamples;
  /** Targets of an example, for the report; one where absent. */
  targetsOf?(example: TokenizedExample): number;
}

/** @throws DataError naming the row, if one cannot be read; or if nothing is left to learn from */
export function prepareExamples<Kind extends Sample["kind"]>(rows: readonly SourceRow[], options: ExamplesOptions<Kind>): Dataset {
  const { model, maxLength, overlong, formats, targetsOf = () => 1 } = options;
  if (rows.length === 0) throw new DataError("the data set is empty; expected files with at least one row.");
  const format = formatOf(rows, options.format, formats);
  const examples: TokenizedExample[] = [];
  let [truncated, droppedOverlong, droppedUnsupervised] = [0, 0, 0];
  for (const source of rows) {
    const sample = readRow(format, source) as SampleOf<Kind>;
    const made = atRow(source.at, () => options.make(sample));
    if (made.isTruncated && overlong === "error")
      throw new DataError(
        `${source.at}: the row is longer than data.maxLength ${maxLength}. Raise it, or set data.overlong to truncate or drop.`,
      );
    if (made.isTruncated && overlong === "drop") {
      droppedOverlong++;
      continue;
    }
    truncated += Number(made.isTruncated);
    for (const example of made.examples) {
      for (const document of documentsOf(example)) checkIds(document, { at: source.at, vocabSize: model.vocabSize });
      if (targetsOf(example) === 0) droppedUnsupervised++;
      else examples.push(example);
    }
  }
  if (examples.length === 0)
    throw new DataError(
      `no row is left to learn from: of ${rows.length}, ${droppedOverlong} are longer than data.maxLength ${maxLength} and ${droppedUnsupervised} have nothing to learn.`,
    );
  const tokens = examples.flatMap(documentsOf).reduce((sum, { inputIds }) => sum + inputIds.length, 0);
  const supervisedTokens = examples.reduce((sum, example) => sum + targetsOf(example), 0);
  return {
    examples,
    report: {
      ...{ format: format.name, rows: rows.length, examples: examples.length },
      ...{ truncated, droppedOverlong, droppedUnsupervised, tokens, supervisedTokens },
    },
  };
}

/** Samples of the rows that are trained on, where there are any. */
export function trainingSamples<Kind extends Sample["kind"]>(
  { training }: Pick<TaskInput<unknown>, "training">,
  formats: readonly DataFormat[],
): SampleOf<Kind>[] | undefined {
  if (!training) return undefined;
  if (training.rows.length === 0) throw new DataError("the data set is empty; expected data.train to name files with at least one row.");
  const format = formatOf(training.rows, training.format, formats);
  return training.rows.map((source) => readRow(format, source) as SampleOf<Kind>);
}

const formatOf = (rows: readonly SourceRow[], format: string, among: readonly DataFormat[]): DataFormat =>
  chooseFormat(
    format,
    rows.map(({ row }) => row),
    among,
  );

/** The texts of rows that a finished model reads. @throws DataError naming the row and the column that is missing */
export function textOf({ row, at }: SourceRow, column: string): string {
  const value = row[column];
  if (typeof value === "string" && value !== "") return value;
  throw new DataError(
    `${at}: ${column} is ${value === undefined ? "missing" : JSON.stringify(value)?.slice(0, 60)}; expected a text. The row has ${Object.keys(row).join(", ") || "no columns"}.`,
  );
}

/** @throws ConfigError where a task needs more tokens than there are */
export function requireRoom(room: number, { maxLength, forWhat }: { maxLength: number; forWhat: string }): void {
  if (room < 1)
    throw new ConfigError(`data.maxLength: ${maxLength} leaves no room for ${forWhat}. Raise it, or train fewer virtual tokens.`);
}

/** Plain texts as tokens, without special ones, one row after the other. @throws DataError naming the row, if one cannot be read */
export function tokenizeTexts(
  rows: readonly SourceRow[],
  { tokenizer, model, format: name }: Pick<PrepareTaskOptions, "tokenizer" | "model" | "format">,
): { readonly format: DataFormat; readonly texts: Iterable<{ readonly at: string; readonly ids: Int32Array }> } {
  const format = formatOf(rows, name, [text]);
  function* texts() {
    for (const source of rows) {
      const sample = readRow(format, source) as SampleOf<"text">;
      const ids = Int32Array.from(tokenizer.encode(sample.text));
      checkIds({ inputIds: ids }, { at: source.at, vocabSize: model.vocabSize });
      yield { at: source.at, ids };
    }
  }
  return { format, texts: texts() };
}
