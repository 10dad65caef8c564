/** Runs a training in its worker thread, shows its progress on standard error and its result on standard output. */
import { figuresOf, showFigure } from "../evaluation/held-out.ts";
import type { PairedDifference } from "../evaluation/paired-bootstrap.ts";
import type { RunConfig } from "../runs/config.ts";
import type { CommandContext } from "./command.ts";
import { createProgress } from "./progress.ts";
import { trainInWorker } from "./train-in-worker.ts";

export interface TrainAndShowOptions {
  readonly config: RunConfig;
  readonly resume: boolean;
  readonly json: boolean;
  /** What the user would type again to continue, without --resume. */
  readonly command: string;
  readonly context: CommandContext;
}

/** An interrupted run sets exit code 1. */
export async function trainAndShow({ config, resume, json, command, context }: TrainAndShowOptions): Promise<void> {
  const { print, log, signal } = context;
  const progress = createProgress({ log, isTerminal: process.stderr.isTTY === true, logEvery: config.training.logEvery });
  const result = await trainInWorker({ config, resume, signal, onEvent: progress.show, command: process.argv.slice(2) });
  progress.end();
  if (result.outcome.status === "interrupted") {
    log(`interrupted after step ${result.outcome.step}; everything is saved. Continue with: ${command} --resume`);
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
    const { base, tuned, comparison } = result;
    print("");
    print(`held-out loss         base ${base.loss.toFixed(3)}  tuned ${tuned.loss.toFixed(3)}  ${showDifference(comparison)}`);
    const after = figuresOf(tuned);
    for (const [i, figure] of figuresOf(base).entries())
      print(
        `${figure.name.padEnd(22)}base ${showFigure(figure)}  tuned ${showFigure(after[i]!)}${showInterval(result.metricComparisons?.[figure.logName])}`,
      );
  }
  if (result.earlier) {
    const { before, after, comparison } = result.earlier;
    print(`earlier data          before ${before.toFixed(3)}  after ${after.toFixed(3)}  ${showDifference(comparison)}`);
  }
  print(`report                ${result.folder}/report.html`);
}

/** Of a metric, in points of a hundred. */
export function showInterval(difference: PairedDifference | undefined): string {
  if (!difference) return "";
  const [change, low, high] = [difference.difference, difference.low, difference.high].map(
    (value) => `${value < 0 ? "-" : "+"}${Math.abs(100 * value).toFixed(1)}`,
  );
  return `  difference ${change} points (95% interval ${low} to ${high})`;
}

function showDifference({ difference, low, high }: PairedDifference): string {
  const signed = (value: number): string => `${value < 0 ? "-" : "+"}${Math.abs(value).toFixed(3)}`;
  return `difference ${signed(difference)} (95% interval ${signed(low)} to ${signed(high)})`;
}
