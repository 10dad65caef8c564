import { expect, test } from "vitest";
import type { RunStepEvent } from "../runs/train-run.ts";
import { createProgress, createTimeLeft, formatBar, formatEvaluation, formatPlainLine, formatProgressLine } from "./progress.ts";

const event = (step: number): RunStepEvent => ({
  ...{ step, totalSteps: 500, epoch: 0, loss: 2.34123, learningRate: 1.8e-4, gradientNorm: 1 },
  ...{ tokens: 512, tokensPerSecond: 1234, memoryBytes: 512e6 },
});

/** Records what is written; the clock moves by hand. */
function record({ isTerminal }: { isTerminal: boolean }) {
  const written: string[] = [];
  const clock = { time: 0 };
  const progress = createProgress({
    log: (text) => written.push(`${text}\n`),
    terminal: { columns: 100, write: (text) => written.push(text) },
    ...{ isTerminal, logEvery: 10, now: () => clock.time },
  });
  const step = (number: number): void => progress.show({ kind: "step", event: event(number) });
  return { written, clock, progress, step };
}

test("a plain line names everything", () => {
  expect(formatPlainLine(event(120), 192)).toBe("step 120/500  loss 2.3412  lr 1.8e-4  1234 tok/s  512 MB  3m 12s left");
  for (const seconds of [Number.POSITIVE_INFINITY, 0])
    expect(formatPlainLine(event(500), seconds)).toBe("step 500/500  loss 2.3412  lr 1.8e-4  1234 tok/s  512 MB");
});

test("the line in place fits the columns: first the bar goes, then the less important numbers", () => {
  expect(formatProgressLine(event(250), { secondsLeft: 60, columns: 120 })).toBe(
    `${"━".repeat(15)}${"╌".repeat(15)} 250/500  loss 2.3412  lr 1.8e-4  1234 tok/s  512 MB  1m 00s left`,
  );
  expect(formatProgressLine(event(250), { secondsLeft: 60, columns: 72 })).toBe(
    "250/500  loss 2.3412  lr 1.8e-4  1234 tok/s  512 MB  1m 00s left",
  );
  expect(formatProgressLine(event(250), { secondsLeft: 60, columns: 40 })).toBe("250/500  loss 2.3412  1m 00s left");
  for (let columns = 1; columns < 140; columns++)
    expect(formatProgressLine(event(3), { secondsLeft: 9, columns }).length).toBeLessThan(columns);
});

test("bars are full at the end and empty at the beginning", () => {
  expect([formatBar(0, 4), formatBar(0.5, 4), formatBar(1, 4), formatBar(1.2, 4)]).toEqual(["╌╌╌╌", "━━╌╌", "━━━━", "━━━━"]);
});

test("an evaluation says whether it is the best", () => {
  expect(formatEvaluation({ step: 20, loss: 2, tokenAccuracy: 0.4567, isBest: true, isOfLabels: false })).toBe(
    "step 20  validation loss 2.0000  perplexity 7.389  token accuracy 45.7%  best so far",
  );
  expect(formatEvaluation({ step: 20, loss: 2, tokenAccuracy: 0.4567, isBest: false, isOfLabels: true })).toBe(
    "step 20  validation loss 2.0000",
  );
});

test("time left follows the pace and is unknown at first, after a resumption too", () => {
  let time = 0;
  const timer = createTimeLeft(() => time);
  expect(timer.after({ step: 101, totalSteps: 110 })).toBe(Number.POSITIVE_INFINITY);
  time += 2000;
  expect(timer.after({ step: 102, totalSteps: 110 })).toBeCloseTo(16);
  expect(timer.after({ step: 110, totalSteps: 110 })).toBe(0);
});

test("no terminal: plain lines for the first step, every logEvery steps and the last, no control characters", () => {
  const { written, progress, step } = record({ isTerminal: false });
  for (const number of [1, 9, 10, 11, 20, 499, 500]) step(number);
  progress.show({ kind: "notice", text: "restored the best checkpoint" });
  progress.end();
  expect(written.map((text) => text.trimEnd().split("  loss")[0])).toEqual([
    ...["step   1/500", "step  10/500", "step  20/500", "step 500/500"],
    "restored the best checkpoint",
  ]);
  for (const control of ["\r", "\u001b"]) expect(written.join("")).not.toContain(control);
});

test("a terminal: one line, drawn again under whatever is said, not more than every 80 ms", () => {
  const { written, clock, progress, step } = record({ isTerminal: true });
  progress.show({ kind: "notice", text: "reading" });
  step(1);
  clock.time = 10;
  step(2);
  clock.time = 90;
  step(3);
  progress.show({ kind: "notice", text: "saved" });
  progress.end();
  const shown = written.map(
    (text) =>
      text
        .replace("\r\u001b[2K", "<clear>")
        .replace(/[━╌]+ +/, "")
        .split("  ")[0],
  );
  expect(shown).toEqual(["reading\n", "<clear>1/500", "<clear>3/500", "<clear>", "saved\n", "<clear>3/500", "<clear>3/500", "\n"]);
});
