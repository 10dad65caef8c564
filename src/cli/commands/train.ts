/** tunesmith train: one configuration file, one run folder; --dry-run only says what it would do. */
import { formatBytes, formatCount, formatDuration } from "../../base/units.ts";
import { parseRunConfig } from "../../runs/config.ts";
import { printRunConfig } from "../../runs/config-text.ts";
import { estimateRun } from "../../runs/estimate.ts";
import { prepareRun } from "../../runs/prepare.ts";
import type { Command } from "../command.ts";
import { readConfigFile } from "../config-file.ts";
import { createNodeEnvironment } from "../environment.ts";
import { trainAndShow } from "../train-and-show.ts";

interface Options {
  readonly resume: boolean;
  readonly dryRun: boolean;
  readonly json: boolean;
}

export const train = {
  name: "train",
  summary: "fine-tune a model as a configuration file says",
  define(command, context) {
    const { print } = context;
    command
      .argument("<config>", "YAML or JSON file")
      .argument("[overrides...]", "single values, for example method.rank=32 training.maxSteps=100")
      .option("--resume", "continue the run in the output folder", false)
      .option("--dry-run", "print the resolved configuration, sizes, memory and time, and stop", false)
      .option("--json", "print the result as JSON", false)
      .action(async (file: string, overrides: string[], { resume, dryRun, json }: Options) => {
        const config = parseRunConfig(await readConfigFile({ file, overrides }));
        if (dryRun) {
          const prepared = await prepareRun(config, createNodeEnvironment(process.argv.slice(2)));
          const estimate = await estimateRun(prepared, config.training);
          if (json) print(JSON.stringify({ config, ...estimate }, null, 2));
          else {
            print(printRunConfig(config, prepared.task).trimEnd());
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
        await trainAndShow({ config, resume, json, command: `tunesmith train ${file}`, context });
      });
  },
} as const satisfies Command;
