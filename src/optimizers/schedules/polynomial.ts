/** Falls along a power of the steps that are left; as in transformers. */
import { z } from "zod";
import { type Schedule, warmingUp, warmupFields, warmupSteps } from "./schedule.ts";

const configSchema = z.strictObject({
  name: z.literal("polynomial"),
  ...warmupFields,
  power: z.number().positive().default(1).describe("1 is a straight line; above 1 the rate falls early."),
  minRatio: z.number().min(0).max(1).default(0).describe("Where the fall ends, as a share of the peak."),
});

export const polynomial = {
  name: "polynomial",
  summary: "falls along a power of the remaining steps",
  configSchema,
  factor(config, at) {
    const { step, totalSteps } = at;
    const warmup = warmupSteps(config, totalSteps);
    const remaining = Math.max(0, 1 - (step - warmup) / Math.max(1, totalSteps - warmup));
    return warmingUp(config, at) ?? (1 - config.minRatio) * remaining ** config.power + config.minRatio;
  },
} as const satisfies Schedule<z.output<typeof configSchema>>;
