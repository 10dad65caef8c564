/** tunesmith pretrain: a small model from nothing, or rather from text. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { createRandom } from "../../base/random.ts";
import { readDatasetFiles } from "../../platform/node/dataset-files.ts";
import { isFolder, writeFileAtomic } from "../../platform/node/files.ts";
import { applyOverrides, parseConfigText } from "../../runs/config-text.ts";
import { initialCheckpointFiles } from "../../runs/initial-checkpoint.ts";
import type { Command } from "../command.ts";
import { parsePretrainFile } from "../pretrain-config.ts";
import { createProgress } from "../progress.ts";
import { trainInWorker } from "../train-in-worker.ts";

export const pretrain = {
  name: "pretrain",
  summary: "make a small model from text: tokenizer, random weights, full training",
  define(command, { print, log, signal }) {
    command
      .argument("<config>", "YAML file: a run's configuration plus pretrain: {architecture, tokenizer}, without model and method")
      .argument("[overrides...]", "single values, for example training.maxSteps=100")
      .option("--resume", "continue the run in the output folder", false)
      .action(async (file: string, overrides: string[], { resume }: { resume: boolean }) => {
        const { recipe, config } = parsePretrainFile(applyOverrides(parseConfigText(await readFile(file, "utf8"), file), overrides));
        const { output, model: initial } = config;
        if (!resume || !(await isFolder(initial))) {
          const { rows } = await readDatasetFiles(config.data.train);
          const texts = rows.map(({ row }) => String(row.text ?? ""));
          log(`tokenizer: learning ${recipe.tokenizer.vocabSize} tokens from ${texts.length} documents`);
          const files = initialCheckpointFiles({ config: recipe, texts, random: createRandom(config.training.seed) });
          for (const [name, content] of Object.entries(files)) await writeFileAtomic(join(initial, name), content);
        }
        const progress = createProgress({ log, isTerminal: process.stderr.isTTY === true, logEvery: config.training.logEvery });
        const result = await trainInWorker({ config, resume, signal, onEvent: progress.show, command: process.argv.slice(2) });
        progress.end();
        print(
          result.tuned
            ? `held-out loss ${result.tuned.loss.toFixed(3)}, perplexity ${result.tuned.perplexity.toFixed(2)}; model in ${join(output, "model")}`
            : `status: ${result.outcome.status}`,
        );
      });
  },
} as const satisfies Command;
