/** Starts a training run, or the plan of one, in a worker thread: kernels block the thread they are called from, and progress, signals and servers must not wait. */
import { Worker } from "node:worker_threads";
import { CheckpointError, ConfigError, TunesmithError } from "../base/errors.ts";
import type { RunConfig } from "../runs/config.ts";
import type { RunEstimate } from "../runs/estimate.ts";
import type { RunStepEvent, TrainRunResult, ValidationEvent } from "../runs/train-run.ts";

/** What the worker is started with. */
export interface TrainJob {
  readonly config: RunConfig;
  readonly resume: boolean;
  readonly command: readonly string[];
  /** Plan only. */
  readonly dryRun?: boolean;
}

/** What --dry-run says. */
export interface RunPlan extends RunEstimate {
  /** The configuration as the run will use it. */
  readonly configText: string;
  readonly trainableParameters: number;
  readonly allParameters: number;
  readonly totalSteps: number;
}

export type TrainMessage =
  | { readonly kind: "prepared"; readonly lines: readonly string[] }
  | { readonly kind: "step"; readonly event: RunStepEvent }
  | { readonly kind: "evaluation"; readonly event: ValidationEvent }
  | { readonly kind: "notice"; readonly text: string }
  | { readonly kind: "result"; readonly result: TrainRunResult | RunPlan }
  | {
      readonly kind: "error";
      readonly code: string | undefined;
      readonly message: string;
      readonly problems?: readonly string[];
      readonly stack: string | undefined;
    };

export interface TrainInWorkerOptions extends Omit<TrainJob, "dryRun"> {
  readonly signal: AbortSignal;
  onEvent(message: TrainMessage): void;
}

/**
 * Room for new JavaScript objects. V8 would let it grow to 48 MB, and the small results of graphs, whose memory goes when their objects
 * do, pile up until it is full.
 */
const youngMegabytes = 3;

export const trainInWorker = (options: TrainInWorkerOptions): Promise<TrainRunResult> => runInWorker(options) as Promise<TrainRunResult>;

/** In a thread like the run's own, so that it needs the memory that the run will need. */
export const planInWorker = (options: Omit<TrainInWorkerOptions, "resume" | "onEvent">): Promise<RunPlan> =>
  runInWorker({ ...options, resume: false, dryRun: true, onEvent: () => {} }) as Promise<RunPlan>;

function runInWorker({ signal, onEvent, ...job }: TrainInWorkerOptions & TrainJob): Promise<TrainRunResult | RunPlan> {
  const resourceLimits = { maxYoungGenerationSizeMb: youngMegabytes };
  const worker = new Worker(new URL("./train-worker.js", import.meta.url), { workerData: job, resourceLimits });
  const stop = (): void => worker.postMessage("stop");
  signal.addEventListener("abort", stop);
  return new Promise<TrainRunResult | RunPlan>((resolve, reject) => {
    worker.on("message", (message: TrainMessage) => {
      if (message.kind === "result") resolve(message.result);
      else if (message.kind === "error") reject(revive(message));
      else onEvent(message);
    });
    worker.on("error", reject);
    worker.on("exit", (code) =>
      reject(
        new CheckpointError(
          `the training thread ended with code ${code} before it had a result; the system may have run out of memory. Continue with --resume.`,
        ),
      ),
    );
  }).finally(() => signal.removeEventListener("abort", stop));
}

/** Errors lose their class on the way between threads. */
function revive({ code, message, problems, stack }: Extract<TrainMessage, { kind: "error" }>): Error {
  if (code === undefined) return Object.assign(new Error(message), stack === undefined ? {} : { stack });
  const error = code === "config" ? new ConfigError(problems ?? message) : new TunesmithError(code, message);
  return Object.assign(error, stack === undefined ? {} : { stack });
}
