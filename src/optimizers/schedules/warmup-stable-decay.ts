/** Warm-up, a long stable phase, a short decay. Hu et al. 2024 (MiniCPM), https://arxiv.org/abs/2404.06395; shapes as in transformers. */
import { z } from "zod";
import { type Schedule, warmingUp, warmupFields, warmupSteps } from "./schedule.ts";

const configSchema = z.strictObject({
  name: z.literal("warmup-stable-decay"),
  ...warmupFields,
  decayRatio: z.number().gt(0).max(1).default(0.1).describe("Share of all steps over which the rate falls at the end."),
  decayType: z.enum(["cosine", "linear", "1-sqrt"]).default("cosine").describe("Shape of the fall."),
  minRatio: z.number().min(0).max(1).default(0).describe("Where the fall ends, as a share of the peak."),
});

const shapes = {
  cosine: (progress: number) => 0.5 * (1 + Math.cos(Math.PI * progress)),
  linear: (progress: number) => 1 - progress,
  "1-sqrt": (progress: number) => 1 - Math.sqrt(progress),
};

export const warmupStableDecay = {
  name: "warmup-stable-decay",
  summary: "warm-up, a stable phase, a short decay at the end",
  configSchema,
  factor(config, at) {
    const { step, totalSteps } = at;
    const decaySteps = Math.max(1, Math.round(config.decayRatio * totalSteps));
    const decayStart = Math.max(warmupSteps(config, totalSteps), totalSteps - decaySteps);
    const rising = warmingUp(config, at);
    if (rising !== undefined) return rising;
    if (step < decayStart) return 1;
    const progress = Math.min(1, (step - decayStart) / decaySteps);
    return Math.max(0, shapes[config.decayType](progress) * (1 - config.minRatio) + config.minRatio);
  },
} as const satisfies Schedule<z.output<typeof configSchema>>;
