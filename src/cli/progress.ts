/** How training looks in the terminal: one line that changes in place, or plain lines where the output is a file or a pipe. */
import { formatBytes, formatDuration, formatNumber } from "../base/units.ts";
import type { RunStepEvent, ValidationEvent } from "../runs/train-run.ts";
import type { TrainMessage } from "./train-in-worker.ts";

/** The part of a terminal's stream that is needed. */
export interface Terminal {
  readonly columns?: number | undefined;
  write(text: string): unknown;
}

export interface ProgressOptions {
  /** Writes a line that stays. */
  log(text: string): void;
  readonly isTerminal: boolean;
  /** Steps between plain lines; no effect on a terminal. */
  readonly logEvery: number;
  readonly terminal?: Terminal;
  /** Milliseconds from any beginning. */
  readonly now?: () => number;
}

export interface Progress {
  show(message: TrainMessage): void;
  /** Leaves the last line where it is and ends it. */
  end(): void;
}

/** Milliseconds between two drawings of the line: faster only flickers. */
const redrawEvery = 80;
const clearLine = "\r\u001b[2K";

export function createProgress({
  log,
  isTerminal,
  logEvery,
  terminal = process.stderr,
  now = () => performance.now(),
}: ProgressOptions): Progress {
  const timer = createTimeLeft(now);
  let line = "";
  let drawnAt = Number.NEGATIVE_INFINITY;
  const draw = (): void => {
    terminal.write(clearLine + line);
    drawnAt = now();
  };
  const say = (text: string): void => {
    if (line !== "") terminal.write(clearLine);
    log(text);
    if (line !== "") draw();
  };
  const showStep = (event: RunStepEvent): void => {
    const secondsLeft = timer.after(event);
    const isLast = event.step === event.totalSteps;
    if (isTerminal) {
      line = formatProgressLine(event, { secondsLeft, columns: terminal.columns ?? 80 });
      if (isLast || now() - drawnAt >= redrawEvery) draw();
    } else if (isLast || event.step === 1 || event.step % logEvery === 0) {
      log(formatPlainLine(event, secondsLeft));
    }
  };
  return {
    show(message) {
      if (message.kind === "prepared") for (const text of message.lines) say(text);
      else if (message.kind === "notice") say(message.text);
      else if (message.kind === "evaluation") say(formatEvaluation(message.event));
      else if (message.kind === "step") showStep(message.event);
    },
    end() {
      if (line !== "") {
        draw();
        terminal.write("\n");
      }
      line = "";
    },
  };
}

/** Seconds to the end, from the pace of recent steps, evaluations and saving included; unknown (infinite) after the first. */
export function createTimeLeft(now: () => number) {
  let last: { readonly step: number; readonly at: number } | undefined;
  let perStep = Number.POSITIVE_INFINITY;
  return {
    after({ step, totalSteps }: Pick<RunStepEvent, "step" | "totalSteps">): number {
      const at = now();
      if (last && step > last.step) {
        const seconds = (at - last.at) / 1000 / (step - last.step);
        perStep = Number.isFinite(perStep) ? 0.9 * perStep + 0.1 * seconds : seconds;
      }
      last = { step, at };
      return step === totalSteps ? 0 : perStep * (totalSteps - step);
    },
  };
}

/** "━━━━╌╌╌╌ 120/500  loss 2.341  lr 1.8e-4  1,234 tok/s  512 MB  3m 12s left", cut to the columns: first the bar goes, then what stands last but one. */
export function formatProgressLine(event: RunStepEvent, { secondsLeft, columns }: { secondsLeft: number; columns: number }): string {
  // The last column stays free: some terminals wrap as soon as it is filled.
  const room = columns - 1;
  const [steps, ...rest] = facts(event);
  const parts = [steps!, ...rest, ...timeLeft(secondsLeft)];
  const text = (): string => parts.join("  ");
  while (text().length > room && parts.length > 2) parts.splice(-2, 1);
  const barWidth = Math.min(30, room - text().length - 1);
  return barWidth >= 8 ? `${formatBar(event.step / event.totalSteps, barWidth)} ${text()}` : text().slice(0, Math.max(0, room));
}

/** "step 120/500  loss 2.341  lr 1.8e-4  1,234 tok/s  512 MB  3m 12s left" */
export const formatPlainLine = (event: RunStepEvent, secondsLeft: number): string =>
  ["step", [...facts(event), ...timeLeft(secondsLeft)].join("  ")].join(" ");

export function formatEvaluation({ step, loss, tokenAccuracy, isBest, isOfLabels }: ValidationEvent): string {
  const ofTokens = `  perplexity ${formatNumber(Math.exp(loss))}  token accuracy ${(100 * tokenAccuracy).toFixed(1)}%`;
  return `step ${step}  validation loss ${loss.toFixed(4)}${isOfLabels ? "" : ofTokens}${isBest ? "  best so far" : ""}`;
}

/** @param share 0 to 1 @param width characters */
export function formatBar(share: number, width: number): string {
  const filled = Math.floor(Math.min(1, Math.max(0, share)) * width);
  return "━".repeat(filled) + "╌".repeat(width - filled);
}

const facts = ({ step, totalSteps, loss, learningRate, tokensPerSecond, memoryBytes }: RunStepEvent): string[] => [
  `${String(step).padStart(String(totalSteps).length)}/${totalSteps}`,
  `loss ${loss.toFixed(4)}`,
  `lr ${formatNumber(learningRate, 3)}`,
  `${formatNumber(tokensPerSecond, 3)} tok/s`,
  formatBytes(memoryBytes),
];

/** Nothing where it is not known yet, and after the last step. */
const timeLeft = (seconds: number): string[] => (seconds > 0 && Number.isFinite(seconds) ? [`${formatDuration(seconds)} left`] : []);
