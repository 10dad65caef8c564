/** tunesmith train: one configuration file, one run folder; --dry-run only says what it would do. */
import { formatBytes, formatCount, formatDuration } from "../../base/units.ts";
import { parseRunConfig } from "../../runs/config.ts";
import type { Command } from "../command.ts";
import { readConfigFile } from "../config-file.ts";
import { trainAndShow } from "../train-and-show.ts";
import { planInWorker, type RunPlan } from "../train-in-worker.ts";

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
        if (!dryRun) return trainAndShow({ config, resume, json, command: `tunesmith train ${file}`, context });
        const { configText, ...plan } = await planInWorker({ config, signal: context.signal, command: process.argv.slice(2) });
        print(json ? JSON.stringify({ config, ...plan }, null, 2) : `${configText.trimEnd()}\n\n${describePlan(plan)}`);
      });
  },
} as const satisfies Command;

function describePlan({
  trainableParameters,
  allParameters,
  totalSteps,
  secondsPerStep,
  peakBytes,
  parts,
}: Omit<RunPlan, "configText">): string {
  const share = ((100 * trainableParameters) / allParameters).toFixed(2);
  const madeOf = Object.entries(parts).map(([name, bytes]) => `${name} ${formatBytes(bytes)}`);
  return [
    `parameters      ${formatCount(trainableParameters)} trained of ${formatCount(allParameters)} (${share}%)`,
    `steps           ${totalSteps}, about ${formatDuration(secondsPerStep)} each, ${formatDuration(secondsPerStep * totalSteps)} in all`,
    `peak memory     about ${formatBytes(peakBytes)} (${madeOf.join(", ")})`,
  ].join("\n");
}
