/**
 * Samples to token ids with labels. In a conversation the loss is on the assistant's turns: their text and whatever the
 * template writes to end the turn, found as the difference between the conversation rendered up to the turn (with the
 * opening of an answer) and rendered with it.
 */
import { DataError } from "../../base/errors.ts";
import { ignoredLabel, type TokenizedExample } from "../batch.ts";
import type { Message, Sample } from "../formats/format.ts";
import type { Tokenizer } from "../tokenizers/tokenizer.ts";
import type { ChatTemplate } from "./chat-template.ts";

export type LossOn = "assistant" | "last-assistant" | "all";

export interface TokenizeOptions {
  readonly tokenizer: Tokenizer;
  readonly template: ChatTemplate;
  readonly lossOn: LossOn;
}

export function tokenizeSample(sample: Sample, options: TokenizeOptions): TokenizedExample {
  const { tokenizer } = options;
  const ending = tokenizer.eosTokenId === undefined ? [] : [tokenizer.eosTokenId];
  if (sample.kind === "text") {
    const ids = [...tokenizer.encode(sample.text, { addSpecialTokens: true }), ...ending];
    return { inputIds: Int32Array.from(ids), labels: Int32Array.from(ids) };
  }
  if (sample.kind === "completion") {
    const prompt = tokenizer.encode(sample.prompt, { addSpecialTokens: true });
    // The space between prompt and completion belongs to the completion's first token, as it will when generating.
    const joint = /\s$/.test(sample.prompt) || /^\s/.test(sample.completion) ? sample.completion : ` ${sample.completion}`;
    const whole = tokenizer.encode(sample.prompt + joint, { addSpecialTokens: true });
    const continues = prompt.every((id, i) => whole[i] === id);
    const ids = continues ? whole : [...prompt, ...tokenizer.encode(joint)];
    const supervisedFrom = options.lossOn === "all" ? 0 : prompt.length;
    return labelled([...ids, ...ending], (i) => i >= supervisedFrom);
  }
  if (sample.kind !== "conversation")
    throw new DataError(`a ${sample.kind} row has no text to continue; a language model cannot learn from it.`);
  return tokenizeConversation(sample.messages, options);
}

export function tokenizeConversation(messages: readonly Message[], { tokenizer, template, lossOn }: TokenizeOptions): TokenizedExample {
  const turns = messages.flatMap(({ role }, i) => (role === "assistant" ? [i] : []));
  if (turns.length === 0 && lossOn !== "all")
    throw new DataError("the conversation has no assistant message, so nothing would be learned. Add one, or set data.lossOn: all.");
  if (lossOn === "all") {
    const ids = tokenizer.encode(template.render(messages), { addSpecialTokens: false });
    return labelled(ids, () => true);
  }
  const supervised = lossOn === "last-assistant" ? turns.slice(-1) : turns;
  const ids: number[] = [];
  const learned: boolean[] = [];
  let rendered = "";
  // Pieces are tokenized one by one: the boundary of a turn is then a boundary of tokens, in training and when generating.
  const append = (upTo: string, isLearned: boolean): void => {
    if (!upTo.startsWith(rendered)) {
      throw new DataError(
        "the chat template writes earlier turns differently once a turn is added, so the assistant's tokens cannot be told apart. Set data.lossOn: last-assistant or all, or use a template that only appends.",
      );
    }
    const piece = tokenizer.encode(upTo.slice(rendered.length));
    ids.push(...piece);
    learned.push(...piece.map(() => isLearned));
    rendered = upTo;
  };
  for (const turn of supervised) {
    append(template.render(messages.slice(0, turn), { addGenerationPrompt: true }), false);
    append(template.render(messages.slice(0, turn + 1)), true);
  }
  return labelled(ids, (i) => learned[i]!);
}

function labelled(ids: readonly number[], isLearned: (index: number) => boolean): TokenizedExample {
  return { inputIds: Int32Array.from(ids), labels: Int32Array.from(ids, (id, i) => (isLearned(i) ? id : ignoredLabel)) };
}
