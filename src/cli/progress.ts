/** Progress of a run: one line that is drawn again on a terminal, plain lines elsewhere. */
import { formatBytes, formatDuration } from "../base/units.ts";
import type { StepEvent } from "../trainers/supervised.ts";
import type { TrainMessage } from "./train-in-worker.ts";

export interface ProgressOptions {
  log(text: string): void;
  readonly isTerminal: boolean;
  /** Steps between plain lines. */
  readonly logEvery: number;
}

export function createProgress({ log, isTerminal, logEvery }: ProgressOptions) {
  let drawn = false;
  let smoothedSeconds = 0;
  let lastAt = performance.now();
  const clear = (): void => {
    if (drawn) process.stderr.write("\r\u001b[2K");
    drawn = false;
  };
  const line = (text: string): void => {
    clear();
    log(text);
  };
  return {
    show(message: TrainMessage): void {
      if (message.kind === "prepared") {
        for (const text of message.lines) line(text);
        lastAt = performance.now();
      } else if (message.kind === "notice") line(message.text);
      else if (message.kind === "evaluation") {
        const { step, loss, tokenAccuracy, isBest } = message.event;
        line(`step ${step}: validation loss ${loss.toFixed(4)}, token accuracy ${(100 * tokenAccuracy).toFixed(1)}%${isBest ? ", best so far" : ""}`);
      } else if (message.kind === "step") {
        const { event } = message;
        const now = performance.now();
        const seconds = (now - lastAt) / 1000;
        lastAt = now;
        smoothedSeconds = smoothedSeconds === 0 ? seconds : 0.9 * smoothedSeconds + 0.1 * seconds;
        const text = formatStep(event, smoothedSeconds * (event.totalSteps - event.step));
        if (isTerminal) {
          process.stderr.write(`\r\u001b[2K${drawBar(event.step / event.totalSteps)} ${text}`.slice(0, (process.stderr.columns ?? 120) + 4));
          drawn = true;
        } else if (event.step % logEvery === 0 || event.step === event.totalSteps || event.step === 1) log(text);
      }
    },
    end: clear,
  };
}

export function formatStep(event: StepEvent, secondsLeft: number): string {
  const { step, totalSteps, loss, learningRate, tokensPerSecond, memoryBytes } = event;
  return `step ${step}/${totalSteps}  loss ${loss.toFixed(4)}  lr ${learningRate.toExponential(2)}  ${Math.round(tokensPerSecond)} tok/s  ${formatBytes(memoryBytes)}  ${formatDuration(secondsLeft)} left`;
}

export function drawBar(share: number, width = 20): string {
  const filled = Math.round(Math.min(1, Math.max(0, share)) * width);
  return `[${"#".repeat(filled)}${"-".repeat(width - filled)}]`;
}
