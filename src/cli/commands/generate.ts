/** tunesmith generate: one prompt, one answer, streamed. */

import { chatTemplateOf } from "../../data/dataset.ts";
import { createDecoder } from "../../generation/decoder.ts";
import { generate as generateText } from "../../generation/generate.ts";
import type { Command } from "../command.ts";
import { openChosenModel } from "../load-run.ts";
import { addSamplingOptions, generationOptions, type SamplingFlags } from "../sampling-options.ts";

export const generate = {
  name: "generate",
  summary: "continue or answer a prompt with a base or tuned model",
  define(command, { log, signal }) {
    addSamplingOptions(command.argument("<model>", "checkpoint folder or run folder").argument("<prompt>", "text"))
      .option("--raw", "continue the text as it is, without the chat template", false)
      .action(async (model: string, prompt: string, flags: SamplingFlags & { raw: boolean }) => {
        const { loaded } = await openChosenModel({ model, adapter: flags.adapter, device: flags.device });
        const { tokenizer } = loaded;
        const templated = !flags.raw && tokenizer.chatTemplate !== undefined;
        const promptIds = templated
          ? tokenizer.encode(chatTemplateOf(tokenizer).render([{ role: "user", content: prompt }], { addGenerationPrompt: true }))
          : tokenizer.encode(prompt, { addSpecialTokens: true });
        const started = performance.now();
        let tokens = 0;
        for await (const { text } of generateText({
          decoder: await createDecoder(loaded),
          tokenizer,
          promptIds,
          signal,
          ...generationOptions(flags, loaded),
        })) {
          process.stdout.write(text);
          tokens++;
        }
        process.stdout.write("\n");
        log(`${tokens} tokens, ${(tokens / ((performance.now() - started) / 1000)).toFixed(1)} tokens/s`);
      });
  },
} as const satisfies Command;
