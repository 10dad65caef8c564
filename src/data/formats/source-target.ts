/** A text and what it becomes: translations, summaries, corrections. */
import { DataError } from "../../base/errors.ts";
import { type DataFormat, isText, type Row } from "./format.ts";

/** Usual names of the two columns. */
const columns: readonly (readonly [source: string, target: string])[] = [
  ["source", "target"],
  ["input", "output"],
  ["text", "summary"],
  ["document", "summary"],
  ["dialogue", "summary"],
  ["article", "highlights"],
  ["question", "answer"],
  ["column0", "column1"],
];

const found = (row: Row): { source: string; target: string } | undefined => {
  const named = columns.find(([source, target]) => isText(row[source]) && isText(row[target]));
  if (named) return { source: row[named[0]] as string, target: row[named[1]] as string };
  // {"translation": {"en": ..., "de": ...}}: from the first language to the second.
  const texts = Object.values((row.translation ?? {}) as object);
  return texts.length === 2 && texts.every(isText) ? { source: texts[0]!, target: texts[1]! } : undefined;
};

export const sourceTarget = {
  name: "source-target",
  summary:
    "rows with source and target (or input/output, text/summary, document/summary, dialogue/summary, article/highlights, a translation object)",
  matches: (row) => found(row) !== undefined,
  read(row) {
    const pair = found(row);
    if (!pair) throw new DataError(`the row has the columns ${Object.keys(row).join(", ")}; expected source and target.`);
    return { kind: "completion", prompt: pair.source, completion: pair.target };
  },
} as const satisfies DataFormat;
