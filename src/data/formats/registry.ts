/** Every row format, in the order in which detection tries them; tasks say which of them they read. */
import { DataError } from "../../base/errors.ts";
import { lookUp } from "../../base/registry.ts";
import { alpaca } from "./alpaca.ts";
import { anchorPositive } from "./anchor-positive.ts";
import { choices } from "./choices.ts";
import type { DataFormat, Row } from "./format.ts";
import { labelledText } from "./labelled-text.ts";
import { messages } from "./messages.ts";
import { promptCompletion } from "./prompt-completion.ts";
import { questionContext } from "./question-context.ts";
import { sharegpt } from "./sharegpt.ts";
import { sourceTarget } from "./source-target.ts";
import { taggedWords } from "./tagged-words.ts";
import { text } from "./text.ts";

/** What language models learn from. */
export const textFormats = [messages, sharegpt, alpaca, promptCompletion, text] as const;

export const formats = [...textFormats, sourceTarget, labelledText, taggedWords, questionContext, choices, anchorPositive] as const;

/** The named format, or with "auto" the first that fits all of the first rows.
 * @throws DataError if none fits */
export function chooseFormat(name: string, rows: readonly Row[], among: readonly DataFormat[] = textFormats): DataFormat {
  if (name !== "auto") return lookUp("data.format", among, name);
  const sample = rows.slice(0, 20);
  const found = among.find((format) => sample.every((row) => format.matches(row)));
  if (found) return found;
  const known = among.map((format) => `\n  - ${format.name}: ${format.summary}`).join("");
  throw new DataError(
    `no format fits: the first row has the columns ${Object.keys(rows[0] ?? {}).join(", ")}. Rename columns to fit one of:${known}`,
  );
}
