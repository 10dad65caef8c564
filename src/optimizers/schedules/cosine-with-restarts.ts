/** Half a cosine wave from the peak to zero, several times over. Loshchilov and Hutter 2016, https://arxiv.org/abs/1608.03983; cycles of equal length. */
import { z } from "zod";
import { type Schedule, warmingUp, warmupFields, warmupSteps } from "./schedule.ts";

const configSchema = z.strictObject({
  name: z.literal("cosine-with-restarts"),
  ...warmupFields,
  numCycles: z.int().positive().default(2).describe("How many times the rate falls to zero."),
});

export const cosineWithRestarts = {
  name: "cosine-with-restarts",
  summary: "half a cosine wave, several times over",
  configSchema,
  factor(config, at) {
    const { step, totalSteps } = at;
    const warmup = warmupSteps(config, totalSteps);
    const progress = (step - warmup) / Math.max(1, totalSteps - warmup);
    if (progress >= 1) return 0;
    return warmingUp(config, at) ?? 0.5 * (1 + Math.cos(Math.PI * ((config.numCycles * progress) % 1)));
  },
} as const satisfies Schedule<z.output<typeof configSchema>>;
