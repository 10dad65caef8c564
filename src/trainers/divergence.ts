/** Notices a loss that has left for good: one bad batch is not divergence, ten bad steps in a row are. */
import { DivergenceError } from "../base/errors.ts";
import type { TrainerState } from "./checkpoint.ts";

const window = 10;
/** Nats above the lowest mean of a window. */
const tolerated = 3;

export interface ObservedStep {
  readonly step: number;
  readonly loss: number;
  readonly learningRate: number;
  readonly gradientNorm: number;
}

/** @throws DivergenceError if the mean loss of the last ten steps is 3 nats above the lowest such mean */
export function observeLoss(
  state: TrainerState,
  { step, loss, learningRate, gradientNorm }: ObservedStep,
): Pick<TrainerState, "recentLosses" | "lowestRecent"> {
  const recentLosses = [...state.recentLosses, loss].slice(-window);
  if (recentLosses.length < window) return { recentLosses, lowestRecent: state.lowestRecent };
  const mean = recentLosses.reduce((sum, value) => sum + value, 0) / window;
  const lowestRecent = Math.min(mean, state.lowestRecent ?? mean);
  if (mean > lowestRecent + tolerated) {
    throw new DivergenceError(
      `step ${step}: training diverged. The mean loss of the last ${window} steps is ${mean.toFixed(2)}, its lowest was ${lowestRecent.toFixed(2)}; learning rate ${learningRate}, gradient norm ${gradientNorm.toPrecision(3)}. ` +
        "Lower optimizer.learningRate, add warm-up, or set training.maxGradNorm; --resume with a lower rate continues from the last checkpoint.",
    );
  }
  return { recentLosses, lowestRecent };
}
