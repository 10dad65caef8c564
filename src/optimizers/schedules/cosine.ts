/** Half a cosine wave from the peak to zero. Loshchilov and Hutter 2016, https://arxiv.org/abs/1608.03983, without restarts. */
import { z } from "zod";
import { type Schedule, warmingUp, warmupFields, warmupSteps } from "./schedule.ts";

const configSchema = z.strictObject({ name: z.literal("cosine"), ...warmupFields });

export const cosine = {
  name: "cosine",
  summary: "half a cosine wave down to zero",
  configSchema,
  factor(config, at) {
    const { step, totalSteps } = at;
    const warmup = warmupSteps(config, totalSteps);
    const progress = (step - warmup) / Math.max(1, totalSteps - warmup);
    return warmingUp(config, at) ?? Math.max(0, 0.5 * (1 + Math.cos(Math.PI * progress)));
  },
} as const satisfies Schedule<z.output<typeof configSchema>>;
