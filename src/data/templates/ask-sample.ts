/** The question of a row without its answer, tokenized as it is when a model is used. */
import { DataError } from "../../base/errors.ts";
import type { Sample } from "../formats/format.ts";
import type { Tokenizer } from "../tokenizers/tokenizer.ts";
import type { ChatTemplate } from "./chat-template.ts";

export interface AskedSample {
  readonly ids: readonly number[];
  /** What is asked, for readers. */
  readonly text: string;
  readonly expected: string;
}

/** A completion's prompt, or a conversation up to its last answer. @throws DataError if the row asks nothing */
export function askSample(sample: Sample, { tokenizer, template }: { tokenizer: Tokenizer; template: ChatTemplate }): AskedSample {
  if (sample.kind === "completion")
    return { ids: tokenizer.encode(sample.prompt, { addSpecialTokens: true }), text: sample.prompt, expected: sample.completion };
  const messages = sample.kind === "conversation" ? sample.messages : [];
  const last = messages.findLastIndex(({ role }) => role === "assistant");
  if (last < 1)
    throw new DataError(
      `a ${sample.kind} row without a question and its answer cannot be compared with what the model writes. Use rows of prompts and completions or conversations, or leave out evaluation.metrics.`,
    );
  const before = messages.slice(0, last);
  return {
    ids: tokenizer.encode(template.render(before, { addGenerationPrompt: true })),
    ...{ text: before.at(-1)!.content, expected: messages[last]!.content },
  };
}
