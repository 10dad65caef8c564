/** Rows of JSON files that are not a list of rows: a list under "data", and SQuAD's own files, where questions stand inside paragraphs inside articles. */
import { DataError } from "../base/errors.ts";
import type { SourceRow } from "./dataset.ts";
import type { Row } from "./formats/format.ts";

/** The list of rows in a JSON document and where it stands; undefined if there is none. */
export function listOfRows(document: unknown): { readonly rows: readonly unknown[]; readonly path: string } | undefined {
  if (Array.isArray(document)) return { rows: document, path: "" };
  const { data } = (document ?? {}) as { readonly data?: unknown };
  return Array.isArray(data) ? { rows: data, path: ".data" } : undefined;
}

/** The questions of a SQuAD article {title, paragraphs: [{context, qas: [...]}]}, each with its context; any other row as it is.
 * @throws DataError where the article is not built like that */
export function unnest({ row, at }: SourceRow): SourceRow[] {
  if (!Array.isArray(row.paragraphs)) return [{ row, at }];
  return row.paragraphs.flatMap((paragraph: Row | null, p) => {
    const place = `${at}.paragraphs[${p}]`;
    const { context, qas } = paragraph ?? {};
    if (typeof context !== "string" || !Array.isArray(qas))
      throw new DataError(
        `${place} has ${Object.keys(paragraph ?? {}).join(", ") || "nothing"}; expected context, a text, and qas, a list of questions, as in SQuAD.`,
      );
    return qas.map((question: Row, q) => ({ row: questionRow(question, { context, title: row.title }), at: `${place}.qas[${q}]` }));
  });
}

/** In SQuAD 2 a question may have no answer in its context. */
const questionRow = ({ id, question, answers, is_impossible: isImpossible }: Row, article: Row): Row => ({
  ...{ ...article, id, question },
  answers: isImpossible === true ? [] : answers,
});
