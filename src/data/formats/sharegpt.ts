/** ShareGPT: a list of turns with from and value. */
import { DataError } from "../../base/errors.ts";
import { type DataFormat, isText } from "./format.ts";

const roles: Readonly<Record<string, string>> = {
  human: "user",
  user: "user",
  gpt: "assistant",
  assistant: "assistant",
  chatgpt: "assistant",
  system: "system",
  tool: "tool",
  observation: "tool",
  function_call: "assistant",
};

export const sharegpt = {
  name: "sharegpt",
  summary: "rows with conversations: a list of {from, value}",
  matches: (row) => Array.isArray(row.conversations),
  read({ conversations, system }) {
    const turns = (conversations as { from?: unknown; value?: unknown }[]).map(({ from, value }, i) => {
      const role = isText(from) ? roles[from] : undefined;
      if (role === undefined || !isText(value))
        throw new DataError(
          `conversations[${i}] has from ${JSON.stringify(from)}; expected one of ${Object.keys(roles).join(", ")}, and a text value.`,
        );
      return { role, content: value };
    });
    const opening = isText(system) && system !== "" ? [{ role: "system", content: system }] : [];
    return { kind: "conversation", messages: [...opening, ...turns] };
  },
} as const satisfies DataFormat;
