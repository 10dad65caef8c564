/** Falls as one over the root of the steps, as the first Transformer was trained: for runs without a planned end. Vaswani et al. 2017, https://arxiv.org/abs/1706.03762. */
import { z } from "zod";
import { type Schedule, warmingUp, warmupFields, warmupSteps } from "./schedule.ts";

const configSchema = z.strictObject({
  name: z.literal("inverse-sqrt"),
  ...warmupFields,
  timescale: z
    .int()
    .positive()
    .optional()
    .describe("Steps after the warm-up in which the first fall to 1 / sqrt(2) happens; the warm-up's length, or 10000 without one."),
});

export const inverseSqrt = {
  name: "inverse-sqrt",
  summary: "falls as one over the root of the steps",
  configSchema,
  factor(config, at) {
    const warmup = warmupSteps(config, at.totalSteps);
    const timescale = config.timescale ?? (warmup || 10_000);
    return warmingUp(config, at) ?? 1 / Math.sqrt((at.step - warmup + timescale) / timescale);
  },
} as const satisfies Schedule<z.output<typeof configSchema>>;
