/** SQuAD's layout: a question, a context, and answers with the place of their first character. Answers may be empty, as in SQuAD 2. */
import { DataError } from "../../base/errors.ts";
import { type DataFormat, isText } from "./format.ts";

/** Text of an answer, and the index of its first character in the context. */
export interface Answer {
  readonly text: string;
  readonly start: number;
}

export const questionContext = {
  name: "question-context",
  summary: "rows with question, context and answers: {text: [...], answer_start: [...]}, or SQuAD's own nested JSON",
  matches: (row) => isText(row.question) && isText(row.context) && typeof row.answers === "object" && row.answers !== null,
  read({ id, question, context, answers }) {
    const found = readAnswers(answers).map(({ text, start }) => {
      // Python counts an emoji as one character, JavaScript as two, and data usually counts as Python.
      const places = start < 0 ? [] : [[...String(context)].slice(0, start).join("").length, start];
      const there = places.find((place) => String(context).startsWith(text, place));
      if (there !== undefined) return { text, start: there };
      const elsewhere = String(context).indexOf(text);
      throw new DataError(
        `the answer ${JSON.stringify(text)} does not stand at character ${start} of the context, which has ${String(context).length}; ${elsewhere < 0 ? "it stands nowhere in it, word for word" : `it stands at ${elsewhere}`}. Correct answer_start, which counts characters from 0, or the answer.`,
      );
    });
    return { kind: "question", question: String(question), context: String(context), answers: found, ...(isText(id) && { id }) };
  },
} as const satisfies DataFormat;

/** Lists side by side, as on the hub, or a list of objects, as in SQuAD's own files. */
function readAnswers(answers: unknown): Answer[] {
  const pairs: { text?: unknown; answer_start?: unknown }[] = Array.isArray(answers)
    ? answers
    : zip(answers as { text?: unknown[]; answer_start?: unknown[] });
  return pairs.map(({ text, answer_start: start }) => {
    if (!isText(text) || !Number.isInteger(Number(start)))
      throw new DataError(
        `an answer is ${JSON.stringify({ text, answer_start: start })?.slice(0, 80)}; expected a text and answer_start, the index of its first character.`,
      );
    return { text, start: Number(start) };
  });
}

const zip = ({ text = [], answer_start: starts = [] }: { text?: unknown[]; answer_start?: unknown[] }) =>
  text.map((one, i) => ({ text: one, answer_start: starts[i] }));
