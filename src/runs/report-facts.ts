/** The plain facts of a run, by section, for its report. */
import { formatBytes, formatDuration } from "../base/units.ts";
import type { PairedDifference } from "../evaluation/paired-bootstrap.ts";
import type { TrainingOutcome } from "../trainers/supervised.ts";
import type { RunEnvironment } from "./environment.ts";
import type { PreparedRun } from "./prepare.ts";

/** Of an update: how the model does on what the earlier run held out. */
export interface EarlierData {
  /** Mean over tokens, nats. */
  readonly before: number;
  readonly after: number;
  readonly documents: number;
  readonly comparison: PairedDifference;
}

export function reportFacts({
  prepared,
  environment,
  outcome,
  seconds,
  earlier,
}: {
  prepared: PreparedRun;
  environment: RunEnvironment;
  outcome: TrainingOutcome;
  seconds: number;
  earlier: EarlierData | undefined;
}) {
  const machine = environment.describe(prepared.loaded.backend.name);
  const { train, heldOut } = prepared;
  return {
    Run: {
      status: outcome.status,
      steps: outcome.step,
      "best validation": outcome.best ? `${outcome.best.loss.toFixed(4)} at step ${outcome.best.step}` : "none",
      time: formatDuration(seconds),
      "trainable parameters": prepared.trainableParameters,
      "all parameters": prepared.allParameters,
      "peak memory, MB": Math.round(environment.peakMemoryBytes() / 1e6),
    },
    Data: {
      files: prepared.dataFiles.map(({ path }) => path).join("\n"),
      format: train.report.format,
      "chat template": train.report.chatTemplate ?? "none (text)",
      "training rows": train.report.rows,
      "training tokens": train.report.tokens,
      "supervised tokens": train.report.supervisedTokens,
      "rows truncated": train.report.truncated,
      "rows dropped": train.report.droppedOverlong + train.report.droppedUnsupervised,
      "held-out rows": heldOut?.report.rows ?? 0,
    },
    ...(earlier && {
      "Earlier data": {
        "held-out rows": earlier.documents,
        "loss before": earlier.before.toFixed(4),
        "loss after": earlier.after.toFixed(4),
        difference: `${earlier.comparison.difference.toFixed(4)} (95% interval ${earlier.comparison.low.toFixed(4)} to ${earlier.comparison.high.toFixed(4)})`,
      },
    }),
    Environment: Object.fromEntries(
      Object.entries(machine).map(([name, value]) =>
        name === "memoryBytes" ? ["memory", formatBytes(Number(value))] : [name, String(value)],
      ),
    ),
  };
}
