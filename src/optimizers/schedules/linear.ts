/** Falls in a straight line to zero at the last step. */
import { z } from "zod";
import { type Schedule, warmingUp, warmupFields, warmupSteps } from "./schedule.ts";

const configSchema = z.strictObject({ name: z.literal("linear"), ...warmupFields });

export const linear = {
  name: "linear",
  summary: "falls in a straight line to zero",
  configSchema,
  factor(config, at) {
    const { step, totalSteps } = at;
    return warmingUp(config, at) ?? Math.max(0, (totalSteps - step) / Math.max(1, totalSteps - warmupSteps(config, totalSteps)));
  },
} as const satisfies Schedule<z.output<typeof configSchema>>;
