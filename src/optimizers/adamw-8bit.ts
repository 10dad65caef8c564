/**
 * AdamW with both moments in one byte an element. Dettmers et al. 2021, https://arxiv.org/abs/2110.02861; codes, blocks and the
 * limit below which a parameter keeps float32 moments as in bitsandbytes. Saves 6 of the 8 bytes that AdamW holds for a parameter.
 */
import { z } from "zod";
import { adamwRule } from "./adamw.ts";
import type { Optimizer, UpdateRule } from "./optimizer.ts";
import { adamFields, sharedFields } from "./settings/fields.ts";

const configSchema = z.strictObject({
  name: z.literal("adamw-8bit"),
  ...sharedFields({ learningRate: 2e-4, advice: "As for adamw." }),
  ...adamFields,
  min8bitSize: z.int().min(0).default(4096).describe("Parameters with fewer elements keep their moments in float32."),
});

const rule8bit = {
  ...adamwRule,
  state: (shape) => ({ expAvg: { shape, storage: "signed-8bit" }, expAvgSq: { shape, storage: "unsigned-8bit" } }),
} as const satisfies UpdateRule<z.output<typeof configSchema>>;

export const adamw8bit = {
  name: "adamw-8bit",
  summary: "AdamW with its two moments in 8 bits: a quarter of the memory for optimizer state.",
  paper: "https://arxiv.org/abs/2110.02861",
  configSchema,
  ruleFor: ({ shape }, { min8bitSize }) => (shape.reduce((size, n) => size * n, 1) < min8bitSize ? adamwRule : rule8bit),
} as const satisfies Optimizer<z.output<typeof configSchema>>;
