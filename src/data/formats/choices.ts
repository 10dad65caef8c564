/** A question or the beginning of a text, and choices of which one is right: a list, or columns ending0, ending1 ... as in SWAG. */
import { DataError } from "../../base/errors.ts";
import { type DataFormat, isText, type Row } from "./format.ts";

const textColumns = ["question", "prompt", "text", "sent1", "startphrase", "ctx"];
const answerColumns = ["answer", "label", "answerKey", "correct"];

const columnOf = (row: Row, names: readonly string[]): string | undefined =>
  names.find((name) => row[name] !== undefined && row[name] !== null);

interface Choices {
  readonly texts: readonly string[];
  /** Names under which the answer may point at them, as in ARC; letters and numbers are understood anyway. */
  readonly names: readonly string[];
}

export const choices = {
  name: "choices",
  summary: "rows with question, choices (a list) and answer (its index from 0, its letter or its text)",
  matches: (row) =>
    isText(row[columnOf(row, textColumns) ?? ""]) && choicesOf(row) !== undefined && columnOf(row, answerColumns) !== undefined,
  read(row) {
    const { texts, names } = choicesOf(row)!;
    if (texts.length < 2) throw new DataError(`the row has ${texts.length} choices; expected two or more.`);
    const given = String(row[columnOf(row, answerColumns)!]);
    const answer = indexOfAnswer(given, { texts, names });
    if (answer < 0)
      throw new DataError(
        `the answer ${JSON.stringify(given)} is none of the ${texts.length} choices; expected an index from 0 to ${texts.length - 1}, a letter from A, or the text of a choice.`,
      );
    const begin = isText(row.sent2) ? `${row.sent2} ` : "";
    return { kind: "choice", text: String(row[columnOf(row, textColumns)!]), choices: texts.map((text) => begin + text), answer };
  },
} as const satisfies DataFormat;

function choicesOf(row: Row): Choices | undefined {
  const list = row.choices ?? row.endings ?? row.options;
  if (Array.isArray(list)) return { texts: list.map(String), names: [] };
  if (typeof list === "object" && list !== null) {
    const { text, label } = list as { text?: unknown; label?: unknown };
    if (Array.isArray(text)) return { texts: text.map(String), names: Array.isArray(label) ? label.map(String) : [] };
  }
  const endings = Array.from({ length: 10 }, (_, i) => row[`ending${i}`]).filter(isText);
  return endings.length > 0 ? { texts: endings, names: [] } : undefined;
}

function indexOfAnswer(given: string, { texts, names }: Choices): number {
  if (names.includes(given)) return names.indexOf(given);
  if (/^\d+$/.test(given)) return Number(given) < texts.length ? Number(given) : -1;
  if (/^[A-Za-z]$/.test(given)) {
    const index = given.toUpperCase().charCodeAt(0) - 65;
    return index < texts.length ? index : -1;
  }
  return texts.indexOf(given);
}
