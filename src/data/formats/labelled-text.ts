/** A text, or two, with what a classifier says of it. Files without a header have their columns in this order too. */
import { DataError } from "../../base/errors.ts";
import { type DataFormat, isText, type Row } from "./format.ts";

const textColumns = [
  "text",
  "sentence",
  "content",
  "review",
  "utterance",
  "tweet",
  "comment",
  "sentence1",
  "premise",
  "question1",
  "question",
  "column0",
];
const pairColumns = ["text_pair", "sentence2", "hypothesis", "question2", "passage"];
const labelColumns = ["label", "labels", "class", "category", "sentiment", "intent", "score", "column1"];

const columnOf = (row: Row, names: readonly string[]): string | undefined =>
  names.find((name) => row[name] !== undefined && row[name] !== null);

/** The text of a row and a second one, without its label. */
export function readTexts(row: Row): { text: string | undefined; pair: string | undefined } {
  const [text, pair] = [row[columnOf(row, textColumns) ?? ""], row[columnOf(row, pairColumns) ?? ""]];
  return { text: isText(text) ? text : undefined, pair: isText(pair) ? pair : undefined };
}

export const labelledText = {
  name: "labelled-text",
  summary: "rows with text (or sentence1 and sentence2) and label: a name, a number, or a list of names",
  matches: (row) => isText(row[columnOf(row, textColumns) ?? ""]) && columnOf(row, labelColumns) !== undefined,
  read(row) {
    const [textColumn, pairColumn, labelColumn] = [columnOf(row, textColumns), columnOf(row, pairColumns), columnOf(row, labelColumns)];
    const [text, pair, label] = [row[textColumn ?? ""], row[pairColumn ?? ""], row[labelColumn ?? ""]];
    const labels = [label].flat();
    const isLabel = (value: unknown): value is string | number => isText(value) || typeof value === "number" || typeof value === "boolean";
    if (!isText(text) || !labels.every(isLabel))
      throw new DataError(
        `the row has ${textColumn ?? "no text"} ${JSON.stringify(text)?.slice(0, 60)} and ${labelColumn ?? "no label"} ${JSON.stringify(label)?.slice(0, 60)}; expected a text and a label (a name, a number, or a list of names).`,
      );
    return {
      ...{ kind: "labelled", text, labels: labels.map(String), isList: Array.isArray(label) },
      ...(isText(pair) && { pair }),
    };
  },
} as const satisfies DataFormat;
