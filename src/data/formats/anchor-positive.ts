/** A text and one that belongs to it, with or without some that do not: what sentence embeddings learn from. */
import { DataError } from "../../base/errors.ts";
import { type DataFormat, isText, type Row } from "./format.ts";

const anchorColumns = ["anchor", "query", "question", "sentence1"];
const positiveColumns = ["positive", "pos", "passage", "answer", "sentence2"];

const textOf = (row: Row, names: readonly string[]): string | undefined => names.map((name) => row[name]).find(isText);

export const anchorPositive = {
  name: "anchor-positive",
  summary: "rows with anchor and positive (or query and passage), with or without negative",
  matches: (row) => textOf(row, anchorColumns) !== undefined && textOf(row, positiveColumns) !== undefined,
  read(row) {
    const negatives = Object.entries(row)
      .filter(([name, value]) => /^neg(ative)?s?(_?\d+)?$/.test(name) && value !== null && value !== undefined)
      .flatMap(([, value]) => value);
    const wrong = negatives.find((negative) => !isText(negative));
    if (wrong !== undefined)
      throw new DataError(`a negative is ${JSON.stringify(wrong)?.slice(0, 60)}; expected a text or a list of texts.`);
    return {
      ...{ kind: "compared", anchor: textOf(row, anchorColumns)!, positive: textOf(row, positiveColumns)! },
      negatives: negatives as string[],
    };
  },
} as const satisfies DataFormat;
