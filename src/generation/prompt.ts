/** From what a user writes to what a model reads before it writes. */
import { CheckpointError } from "../base/errors.ts";
import { chatTemplateOf } from "../data/dataset.ts";
import type { Message } from "../data/formats/format.ts";
import type { LoadedModel } from "../execution/loaded-model.ts";
import type { Prompt } from "./generate.ts";

/** Text to go on from, a conversation to answer, or the source of an encoder-decoder. */
export type PromptInput = string | readonly Message[];

export interface PromptOptions {
  /** Text as it is, also where the tokenizer has a chat template. */
  readonly raw?: boolean;
  /** Put in front of the source of an encoder-decoder, as it was in training. */
  readonly sourcePrefix?: string;
}

/** @throws CheckpointError if an encoder-decoder does not say how its decoder begins; DataError if a conversation has no chat template */
export function promptOf(
  input: PromptInput,
  { model, tokenizer, checkpoint }: Pick<LoadedModel, "model" | "tokenizer" | "checkpoint">,
  { raw = false, sourcePrefix = "" }: PromptOptions = {},
): Pick<Prompt, "ids" | "encoderIds"> {
  const isText = typeof input === "string";
  const plain = isText && (raw || tokenizer.chatTemplate === undefined || model.encoder !== undefined);
  const messages = isText ? [{ role: "user" as const, content: input }] : input;
  const ids = plain
    ? tokenizer.encode(`${model.encoder ? sourcePrefix : ""}${input}`, { addSpecialTokens: true })
    : tokenizer.encode(chatTemplateOf(tokenizer).render(messages, { addGenerationPrompt: true }));
  if (!model.encoder) return { ids };
  const start = checkpoint.generationConfig.decoder_start_token_id ?? checkpoint.config.decoder_start_token_id;
  if (typeof start !== "number")
    throw new CheckpointError(
      'config.json lacks "decoder_start_token_id", which the decoder begins with. Copy it from the model card; for T5 it is the id of the pad token, 0.',
    );
  return { ids: [start], encoderIds: ids };
}
