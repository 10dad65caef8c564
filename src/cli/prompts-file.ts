/** Prompts of a file: one on each line of a .txt, or data rows with a "prompt" or with "messages". */
import { readFile } from "node:fs/promises";
import { DataError } from "../base/errors.ts";
import type { Message } from "../data/formats/format.ts";
import type { PromptInput } from "../generation/prompt.ts";
import { readDatasetFiles } from "../platform/node/dataset-files.ts";

/** @throws DataError naming file and line if a row holds no prompt, or the file cannot be read or has none */
export async function readPrompts(path: string): Promise<PromptInput[]> {
  if (!path.endsWith(".txt")) {
    const { rows } = await readDatasetFiles(path);
    return rows.map(({ row, at }) => promptOf(row, at));
  }
  const text = await readFile(path, "utf8").catch((error: NodeJS.ErrnoException) => {
    throw new DataError(`${path} cannot be read: ${error.code}. Check the path and its permissions.`, { cause: error });
  });
  const lines = text.split(/\r?\n/).filter((line) => line.trim() !== "");
  if (lines.length === 0) throw new DataError(`${path} has no prompt; expected one on each line.`);
  return lines;
}

function promptOf({ prompt, messages }: Readonly<Record<string, unknown>>, at: string): PromptInput {
  if (typeof prompt === "string" && prompt !== "") return prompt;
  if (Array.isArray(messages) && messages.length > 0 && messages.every(isMessage)) return messages;
  throw new DataError(`${at}: expected "prompt" with a text, or "messages" as [{ "role": "user", "content": "..." }].`);
}

const isMessage = (value: unknown): value is Message =>
  typeof value === "object" &&
  value !== null &&
  typeof (value as Message).role === "string" &&
  typeof (value as Message).content === "string";
