/** Plain text, every token supervised. */
import { DataError } from "../../base/errors.ts";
import { type DataFormat, isText } from "./format.ts";

export const text = {
  name: "text",
  summary: "rows with text; a .txt file is one such row",
  matches: (row) => isText(row.text),
  read(row) {
    if (!isText(row.text)) throw new DataError(`the row has the columns ${Object.keys(row).join(", ")}; expected text.`);
    return { kind: "text", text: row.text };
  },
} as const satisfies DataFormat;
