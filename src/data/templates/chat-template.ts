/** Renders conversations with a checkpoint's own Jinja template, with the functions that transformers offers to templates (raise_exception and strftime_now come with the library). */
import { Template } from "@huggingface/jinja";
import { DataError } from "../../base/errors.ts";
import type { Message } from "../formats/format.ts";

export interface ChatTemplate {
  render(messages: readonly Message[], options?: { addGenerationPrompt?: boolean }): string;
}

/** For instruction data on checkpoints that have no template of their own. Plain words, so that any vocabulary can say it. */
export const plainTemplate =
  "{% for m in messages %}{% if m.role == 'user' %}### Instruction:\n{{ m.content }}\n\n{% elif m.role == 'assistant' %}### Response:\n{{ m.content }}{{ eos_token }}\n\n{% else %}{{ m.content }}\n\n{% endif %}{% endfor %}{% if add_generation_prompt %}### Response:\n{% endif %}";

/** @throws DataError if the template cannot be parsed */
export function createChatTemplate(source: string, tokens: { bosToken?: string | undefined; eosToken?: string | undefined }): ChatTemplate {
  let template: Template;
  try {
    template = new Template(source);
  } catch (error) {
    throw new DataError(`the chat template cannot be parsed: ${(error as Error).message}. Correct chat_template in tokenizer_config.json.`);
  }
  return {
    render(messages, { addGenerationPrompt = false } = {}) {
      try {
        return template.render({
          messages: messages.map((message) => ({ ...message })),
          add_generation_prompt: addGenerationPrompt,
          bos_token: tokens.bosToken ?? "",
          eos_token: tokens.eosToken ?? "",
        });
      } catch (error) {
        throw new DataError(`the chat template refuses this conversation: ${(error as Error).message}`);
      }
    },
  };
}
