/** tunesmith chat: a conversation in the terminal; an empty line or Ctrl-D ends it. */
import { createInterface } from "node:readline/promises";
import { UnsupportedError } from "../../base/errors.ts";
import { chatTemplateOf } from "../../data/dataset.ts";
import type { Message } from "../../data/formats/format.ts";
import { generate } from "../../generation/generate.ts";
import type { Command } from "../command.ts";
import { openChosenModel } from "../load-run.ts";
import { addSamplingOptions, generationOptions, openDecoder, type SamplingFlags } from "../sampling-options.ts";

export const chat = {
  name: "chat",
  summary: "talk with a base or tuned model",
  define(command, { log, signal }) {
    addSamplingOptions(command.argument("<model>", "checkpoint folder or run folder"))
      .option("--system <text>", "system message")
      .action(async (model: string, flags: SamplingFlags & { system?: string }) => {
        const { loaded } = await openChosenModel({ model, adapter: flags.adapter, device: flags.device });
        const { tokenizer, model: opened } = loaded;
        if (opened.encoder)
          throw new UnsupportedError(`${opened.modelType} turns a source into a target and holds no conversation. Use tunesmith generate.`);
        const template = chatTemplateOf(tokenizer);
        const decoder = await openDecoder(loaded);
        const messages: Message[] = flags.system === undefined ? [] : [{ role: "system", content: flags.system }];
        const input = createInterface({ input: process.stdin, output: process.stderr });
        log("Empty line to end.");
        input.setPrompt("> ");
        input.prompt();
        // Lines are read as an iterator, so that none is lost while an answer is made.
        for await (const question of input) {
          if (question.trim() === "") break;
          messages.push({ role: "user", content: question });
          const promptIds = tokenizer.encode(template.render(messages, { addGenerationPrompt: true }));
          let answer = "";
          for await (const { text } of generate({ decoder, tokenizer, promptIds, signal, ...generationOptions(flags, loaded) })) {
            process.stdout.write(text);
            answer += text;
          }
          process.stdout.write("\n");
          messages.push({ role: "assistant", content: answer.trim() });
          input.prompt();
        }
        input.close();
      });
  },
} as const satisfies Command;
