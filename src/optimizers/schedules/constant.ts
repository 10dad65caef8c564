/** The peak rate throughout, after a warm-up. */
import { z } from "zod";
import { type Schedule, warmingUp, warmupFields } from "./schedule.ts";

const configSchema = z.strictObject({ name: z.literal("constant"), ...warmupFields });

export const constant = {
  name: "constant",
  summary: "the same rate throughout",
  configSchema,
  factor: (config, at) => warmingUp(config, at) ?? 1,
} as const satisfies Schedule<z.output<typeof configSchema>>;
