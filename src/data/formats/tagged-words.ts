/** The words of a sentence with a tag for each, as in the CoNLL sets on the hub. */
import { DataError } from "../../base/errors.ts";
import type { DataFormat, Row } from "./format.ts";

const wordColumns = ["tokens", "words"];
const tagColumns = ["tags", "ner_tags", "pos_tags", "chunk_tags", "labels"];

const listOf = (row: Row, names: readonly string[]): readonly unknown[] | undefined =>
  names.map((name) => row[name]).find((value): value is unknown[] => Array.isArray(value));

export const taggedWords = {
  name: "tagged-words",
  summary: "rows with tokens and tags (or ner_tags): two lists of equal length",
  matches: (row) => listOf(row, wordColumns) !== undefined && listOf(row, tagColumns) !== undefined,
  read(row) {
    const [words, tags] = [listOf(row, wordColumns)!.map(String), listOf(row, tagColumns)!.map(String)];
    if (words.length !== tags.length)
      throw new DataError(`the row has ${words.length} words and ${tags.length} tags; expected one tag for each word.`);
    return { kind: "tagged", words, tags };
  },
} as const satisfies DataFormat;
