/** What a learning-rate schedule is: a factor on the peak rate for every step. */
import { z } from "zod";

// biome-ignore lint/suspicious/noExplicitAny: a registry holds schedules of many config types
export interface Schedule<Config = any> {
  readonly name: string;
  readonly summary: string;
  readonly configSchema: z.ZodType<Config>;
  /** 0 to 1. @param step steps already done, 0 for the first */
  factor(config: Config, at: { step: number; totalSteps: number }): number;
}

/** Fields of every schedule with a warm-up. */
export const warmupFields = {
  warmupSteps: z.int().min(0).optional().describe("Steps over which the rate rises from zero. Instead of warmupRatio."),
  warmupRatio: z.number().min(0).lt(1).optional().describe("The same as a share of all steps; 0.03 to 0.1 is usual."),
};

export function warmupSteps(config: { warmupSteps?: number | undefined; warmupRatio?: number | undefined }, totalSteps: number): number {
  return config.warmupSteps ?? Math.ceil((config.warmupRatio ?? 0) * totalSteps);
}

/** Rising factor while warming up, undefined afterwards. */
export function warmingUp(
  config: { warmupSteps?: number | undefined; warmupRatio?: number | undefined },
  { step, totalSteps }: { step: number; totalSteps: number },
): number | undefined {
  const steps = warmupSteps(config, totalSteps);
  return step < steps ? step / Math.max(1, steps) : undefined;
}
