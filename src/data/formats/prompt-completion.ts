/** A prompt, which is not supervised, and its completion, which is. The completion may have another name when it is the only other text. */
import { DataError } from "../../base/errors.ts";
import { type DataFormat, isText, type Row } from "./format.ts";

function completionKey(row: Row): string | undefined {
  if (isText(row.completion)) return "completion";
  const others = Object.keys(row).filter((key) => key !== "prompt" && isText(row[key]));
  return others.length === 1 ? others[0] : undefined;
}

export const promptCompletion = {
  name: "prompt-completion",
  summary: "rows with prompt and completion (or one other text column)",
  matches: (row) => isText(row.prompt) && completionKey(row) !== undefined,
  read(row) {
    const key = completionKey(row);
    if (!isText(row.prompt) || key === undefined)
      throw new DataError(`the row has the columns ${Object.keys(row).join(", ")}; expected prompt and completion.`);
    return { kind: "completion", prompt: row.prompt, completion: row[key] as string };
  },
} as const satisfies DataFormat;
