/** tunesmith update: continue a finished run with new data, and see what it forgets. */
import { ConfigError } from "../../base/errors.ts";
import { parseRunConfig } from "../../runs/config.ts";
import { openEarlierRun } from "../../runs/earlier-run.ts";
import type { Command } from "../command.ts";
import { readConfigFile } from "../config-file.ts";
import { createNodeEnvironment } from "../environment.ts";
import { trainAndShow } from "../train-and-show.ts";

export const update = {
  name: "update",
  summary: "continue a finished run with new data, with guards against forgetting",
  define(command, context) {
    command
      .argument("<run>", "folder of the earlier run")
      .argument("<config>", "YAML or JSON file: a run's configuration without model and method, and update: {replayShare, l2sp, ewc, kl}")
      .argument("[overrides...]", "single values, for example update.replayShare=0.3")
      .option("--resume", "continue the run in the output folder", false)
      .option("--json", "print the result as JSON", false)
      .action(async (run: string, file: string, overrides: string[], { resume, json }: { resume: boolean; json: boolean }) => {
        const raw = await readConfigFile({ file, overrides });
        for (const key of ["model", "method"])
          if (key in raw) throw new ConfigError(`${key}: is taken from the earlier run, ${run}. Leave it out of ${file}.`);
        const earlier = await openEarlierRun(run, createNodeEnvironment(process.argv.slice(2)));
        const { model, config } = earlier;
        const merged = { ...raw, model, method: config.method, update: { ...(raw.update as object | undefined), from: run } };
        await trainAndShow({ config: parseRunConfig(merged), resume, json, command: `tunesmith update ${run} ${file}`, context });
      });
  },
} as const satisfies Command;
