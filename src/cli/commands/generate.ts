/** tunesmith generate: one prompt, one answer, streamed; with several adapters one answer from each. */

import { chatTemplateOf } from "../../data/dataset.ts";
import { createDecoder } from "../../generation/decoder.ts";
import { generate as generateText } from "../../generation/generate.ts";
import type { Command } from "../command.ts";
import { openChosenModel } from "../load-run.ts";
import { addSamplingOptions, generationOptions, type SamplingFlags } from "../sampling-options.ts";

export const generate = {
  name: "generate",
  summary: "continue or answer a prompt with a base or tuned model",
  define(command, { print, log, signal }) {
    addSamplingOptions(command.argument("<model>", "checkpoint folder or run folder").argument("<prompt>", "text"))
      .option("--raw", "continue the text as it is, without the chat template", false)
      .action(async (model: string, prompt: string, flags: SamplingFlags & { raw: boolean }) => {
        const { adapter, device } = flags;
        const { loaded, adapterPaths } = await openChosenModel({ model, adapter, device, takesSeveral: true });
        const { tokenizer } = loaded;
        const templated = !flags.raw && tokenizer.chatTemplate !== undefined;
        const promptIds = templated
          ? tokenizer.encode(chatTemplateOf(tokenizer).render([{ role: "user", content: prompt }], { addGenerationPrompt: true }))
          : tokenizer.encode(prompt, { addSpecialTokens: true });
        const decoder = await createDecoder(loaded);
        const answer = async (adapterId: number): Promise<void> => {
          const started = performance.now();
          let tokens = 0;
          decoder.reset(adapterId);
          for await (const { text } of generateText({ decoder, tokenizer, promptIds, signal, ...generationOptions(flags, loaded) })) {
            process.stdout.write(text);
            tokens++;
          }
          process.stdout.write("\n");
          log(`${tokens} tokens, ${(tokens / ((performance.now() - started) / 1000)).toFixed(1)} tokens/s`);
        };
        if (adapterPaths.length < 2) return answer(0);
        for (const [i, path] of adapterPaths.entries()) {
          print(`[${path}]`);
          await answer(i + 1);
        }
      });
  },
} as const satisfies Command;
