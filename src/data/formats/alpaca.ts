/** Instruction, optional input, output. Becomes one exchange; chat templates decide how it looks. */
import { type DataFormat, isText } from "./format.ts";

export const alpaca = {
  name: "alpaca",
  summary: "rows with instruction, input (may be empty) and output",
  matches: (row) => isText(row.instruction) && isText(row.output) && (row.input === undefined || row.input === null || isText(row.input)),
  read({ instruction, input, output, system }) {
    const question = isText(input) && input !== "" ? `${instruction}\n\n${input}` : String(instruction);
    const opening = isText(system) && system !== "" ? [{ role: "system", content: system }] : [];
    return {
      kind: "conversation",
      messages: [...opening, { role: "user", content: question }, { role: "assistant", content: String(output) }],
    };
  },
} as const satisfies DataFormat;
