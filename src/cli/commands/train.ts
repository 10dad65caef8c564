/** tunesmith train: one configuration file, one run folder. Training runs in a worker thread; this thread shows progress. */
import { readFile } from "node:fs/promises";
import { ConfigError } from "../../base/errors.ts";
import { formatBytes, formatCount, formatDuration } from "../../base/units.ts";
import { parseRunConfig } from "../../runs/config.ts";
import { applyOverrides, parseConfigText, printConfig } from "../../runs/config-text.ts";
import { estimateRun } from "../../runs/estimate.ts";
import { prepareRun } from "../../runs/prepare.ts";
import type { Command } from "../command.ts";
import { createNodeEnvironment } from "../environment.ts";
import { createProgress } from "../progress.ts";
import { trainInWorker } from "../train-in-worker.ts";

interface Options {
  readonly resume: boolean;
  readonly dryRun: boolean;
  readonly json: boolean;
}

export const train = {
  name: "train",
  summary: "fine-tune a model as a configuration file says",
  define(command, { print, log, signal }) {
    command
      .argument("<config>", "YAML or JSON file")
      .argument("[overrides...]", "single values, for example method.rank=32 training.maxSteps=100")
      .option("--resume", "continue the run in the output folder", false)
      .option("--dry-run", "print the resolved configuration, sizes, memory and time, and stop", false)
      .option("--json", "print the result as JSON", false)
      .action(async (file: string, overrides: string[], { resume, dryRun, json }: Options) => {
        const text = await readFile(file, "utf8").catch((error: NodeJS.ErrnoException) => {
          throw new ConfigError(`${file} cannot be read: ${error.code}. Name a configuration file; "tunesmith config example" prints one.`);
        });
        const config = parseRunConfig(applyOverrides(parseConfigText(text, file), overrides));
        if (dryRun) {
          const prepared = await prepareRun(config, createNodeEnvironment(process.argv.slice(2)));
          const estimate = await estimateRun(prepared, config.training);
          if (json) print(JSON.stringify({ config, ...estimate }, null, 2));
          else {
            print(printConfig(config).trimEnd());
            print("");
            print(
              `parameters      ${formatCount(prepared.trainableParameters)} trained of ${formatCount(prepared.allParameters)} (${((100 * prepared.trainableParameters) / prepared.allParameters).toFixed(2)}%)`,
            );
            print(
              `steps           ${prepared.totalSteps}, about ${formatDuration(estimate.secondsPerStep)} each, ${formatDuration(estimate.secondsPerStep * prepared.totalSteps)} in all`,
            );
            print(
              `peak memory     about ${formatBytes(estimate.peakBytes)} (${Object.entries(estimate.parts)
                .map(([name, bytes]) => `${name} ${formatBytes(bytes)}`)
                .join(", ")})`,
            );
          }
          return;
        }
        const progress = createProgress({ log, isTerminal: process.stderr.isTTY === true, logEvery: config.training.logEvery });
        const result = await trainInWorker({ config, resume, signal, onEvent: progress.show, command: process.argv.slice(2) });
        progress.end();
        if (result.outcome.status === "interrupted") {
          log(`interrupted after step ${result.outcome.step}; everything is saved. Continue with: tunesmith train ${file} --resume`);
          process.exitCode = 1;
          return;
        }
        if (json) {
          print(JSON.stringify(result, null, 2));
          return;
        }
        for (const { prompt, before, after } of result.samples)
          print(`\n> ${prompt}\nbase:  ${before.replaceAll("\n", "\n       ")}\ntuned: ${after.replaceAll("\n", "\n       ")}`);
        if (result.base && result.tuned && result.comparison) {
          const { difference, low, high } = result.comparison;
          const signed = (value: number): string => `${value < 0 ? "-" : "+"}${Math.abs(value).toFixed(3)}`;
          print("");
          print(
            `held-out loss   base ${result.base.loss.toFixed(3)}  tuned ${result.tuned.loss.toFixed(3)}  difference ${signed(difference)} (95% interval ${signed(low)} to ${signed(high)})`,
          );
          print(`perplexity      base ${result.base.perplexity.toFixed(2)}  tuned ${result.tuned.perplexity.toFixed(2)}`);
          print(
            `token accuracy  base ${(100 * result.base.tokenAccuracy).toFixed(1)}%  tuned ${(100 * result.tuned.tokenAccuracy).toFixed(1)}%`,
          );
        }
        print(`report          ${result.folder}/report.html`);
      });
  },
} as const satisfies Command;
