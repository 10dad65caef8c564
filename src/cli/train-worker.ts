/** The worker thread of `tunesmith train`, with --dry-run too. */
import { parentPort, workerData } from "node:worker_threads";
import { ConfigError, TunesmithError } from "../base/errors.ts";
import { formatCount } from "../base/units.ts";
import type { RunConfig } from "../runs/config.ts";
import { printRunConfig } from "../runs/config-text.ts";
import type { RunEnvironment } from "../runs/environment.ts";
import { estimateRun } from "../runs/estimate.ts";
import { type PreparedRun, prepareRun } from "../runs/prepare.ts";
import { runTraining, type TrainRunResult } from "../runs/train-run.ts";
import { createNodeEnvironment } from "./environment.ts";
import type { RunPlan, TrainJob, TrainMessage } from "./train-in-worker.ts";

const job = workerData as TrainJob;
const stopping = new AbortController();
parentPort!.on("message", () => stopping.abort());
const post = (message: TrainMessage): void => parentPort!.postMessage(message);

try {
  const environment = createNodeEnvironment(job.command);
  post({ kind: "result", result: job.dryRun ? await plan(job.config, environment) : await train(job, environment) });
} catch (error) {
  const known = TunesmithError.isInstance(error);
  post({
    kind: "error",
    code: known ? error.code : undefined,
    message: (error as Error).message,
    ...(error instanceof ConfigError && { problems: error.problems }),
    stack: (error as Error).stack,
  });
}
parentPort!.close();

function train({ config, resume }: TrainJob, environment: RunEnvironment): Promise<TrainRunResult> {
  return runTraining({
    ...{ config, resume, environment, signal: stopping.signal },
    events: {
      onPrepared: (prepared) => post({ kind: "prepared", lines: describePrepared(prepared) }),
      onStep: (event) => post({ kind: "step", event }),
      onEvaluation: (event) => post({ kind: "evaluation", event }),
      onNotice: (text) => post({ kind: "notice", text }),
    },
  });
}

async function plan(config: RunConfig, environment: RunEnvironment): Promise<RunPlan> {
  const prepared = await prepareRun(config, environment);
  const { gradientAccumulationSteps } = config.training;
  const estimate = await estimateRun(prepared, { gradientAccumulationSteps, peakMemoryBytes: environment.peakMemoryBytes });
  const { trainableParameters, allParameters, totalSteps, task } = prepared;
  return { ...estimate, trainableParameters, allParameters, totalSteps, configText: printRunConfig(config, task) };
}

function describePrepared({ loaded, train, validation, heldOut, trainableParameters, allParameters, totalSteps }: PreparedRun): string[] {
  const { report } = train;
  const template =
    report.chatTemplate === "plain"
      ? ", plain template (the checkpoint has none)"
      : report.chatTemplate
        ? ", the checkpoint's chat template"
        : "";
  const lost = [
    ...(report.truncated > 0 ? [`${report.truncated} truncated`] : []),
    ...(report.droppedOverlong > 0 ? [`${report.droppedOverlong} dropped as too long`] : []),
    ...(report.droppedUnsupervised > 0 ? [`${report.droppedUnsupervised} dropped without a token to learn`] : []),
  ];
  return [
    `model   ${loaded.checkpoint.name}: ${loaded.model.modelType}, ${formatCount(allParameters)} parameters on ${loaded.backend.name}, ${formatCount(trainableParameters)} trained (${((100 * trainableParameters) / allParameters).toFixed(2)}%)`,
    ...(loaded.fresh.length > 0 ? [`head    ${loaded.fresh.join(", ")}: not in the checkpoint, begins at random`] : []),
    `data    ${report.format} format${template}: ${formatCount(report.examples)} training examples, ${formatCount(report.supervisedTokens)} of ${formatCount(report.tokens)} tokens supervised${lost.length > 0 ? `; ${lost.join(", ")}` : ""}`,
    `held out ${validation?.report.rows ?? 0} rows for validation${heldOut !== validation ? `, ${heldOut?.report.rows} for the final test` : ""}; ${totalSteps} steps`,
  ];
}
