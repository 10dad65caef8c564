/** OpenAI's chat format: a list of messages with role and content. */
import { DataError } from "../../base/errors.ts";
import { type DataFormat, isText, type Message } from "./format.ts";

export const messages = {
  name: "messages",
  summary: "rows with messages: a list of {role, content}, as in OpenAI's fine-tuning files",
  matches: (row) => Array.isArray(row.messages),
  read({ messages }) {
    const list = messages as Partial<Message>[];
    for (const [i, message] of list.entries()) {
      if (!isText(message?.role) || !isText(message.content))
        throw new DataError(`messages[${i}] is ${JSON.stringify(message)?.slice(0, 80)}; expected {"role": "...", "content": "..."}.`);
    }
    if (list.length === 0) throw new DataError("messages is empty; expected at least one user and one assistant message.");
    return { kind: "conversation", messages: list as Message[] };
  },
} as const satisfies DataFormat;
