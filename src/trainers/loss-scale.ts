/**
 * Dynamic loss scaling for gradients that pass through float16: they are multiplied by a scale, so that small ones do not become zero,
 * and divided by it again before they are used. A scale that makes one overflow is halved, and its step is left out.
 * As torch.amp.GradScaler, with its numbers. Micikevicius et al. 2017, https://arxiv.org/abs/1710.03740.
 */
import { DivergenceError } from "../base/errors.ts";

const growthFactor = 2;
const backoffFactor = 0.5;
const growthInterval = 2000;
/** Below this the scale cannot be what makes gradients overflow. */
const smallestScale = 2 ** -10;

export interface LossScale {
  readonly scale: number;
  /** Steps without overflow since the scale was last changed. */
  readonly goodSteps: number;
  /** Steps of the run that were left out. */
  readonly skippedSteps: number;
}

export const initialLossScale: LossScale = { scale: 65_536, goodSteps: 0, skippedSteps: 0 };

/** @throws DivergenceError if gradients overflow at every scale */
export function nextLossScale({ scale, goodSteps, skippedSteps }: LossScale, { overflowed }: { overflowed: boolean }): LossScale {
  if (overflowed) {
    const lower = scale * backoffFactor;
    if (lower < smallestScale)
      throw new DivergenceError(
        `gradients are not finite in float16 at a loss scale of ${scale}, so the scale is not the reason: the model's own numbers leave the range of float16. Take training.precision: float32.`,
      );
    return { scale: lower, goodSteps: 0, skippedSteps: skippedSteps + 1 };
  }
  if (goodSteps + 1 < growthInterval) return { scale, goodSteps: goodSteps + 1, skippedSteps };
  return { scale: scale * growthFactor, goodSteps: 0, skippedSteps };
}
