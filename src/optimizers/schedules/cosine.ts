/** Half a cosine wave from the peak to zero, or to a lowest rate. Loshchilov and Hutter 2016, https://arxiv.org/abs/1608.03983, without restarts. */
import { z } from "zod";
import { type Schedule, warmingUp, warmupFields, warmupSteps } from "./schedule.ts";

const configSchema = z.strictObject({
  name: z.literal("cosine"),
  ...warmupFields,
  minRatio: z.number().min(0).max(1).default(0).describe("Where the fall ends, as a share of the peak; 0.1 is usual for long runs."),
});

export const cosine = {
  name: "cosine",
  summary: "half a cosine wave down to zero, or to minRatio of the peak",
  configSchema,
  factor(config, at) {
    const { step, totalSteps } = at;
    const warmup = warmupSteps(config, totalSteps);
    const progress = (step - warmup) / Math.max(1, totalSteps - warmup);
    const wave = 0.5 * (1 + Math.cos(Math.PI * progress));
    return warmingUp(config, at) ?? Math.max(0, wave * (1 - config.minRatio) + config.minRatio);
  },
} as const satisfies Schedule<z.output<typeof configSchema>>;
