/** Full fine-tuning: every parameter of the model is trained, in float32. */
import { z } from "zod";
import { defineMethod, type MethodTarget } from "./method.ts";

export const full = defineMethod({
  name: "full",
  summary: "Train every parameter. The most capacity, the most memory (16 bytes a parameter with AdamW), and the most forgetting.",
  configSchema: z.strictObject({ name: z.literal("full") }),
  attach({ parameters }: Pick<MethodTarget, "parameters">) {
    const buffers = new Set(parameters.filter(({ kind }) => kind === "buffer").map(({ name }) => name));
    return { hooks: {}, added: [], trains: (name) => !buffers.has(name) };
  },
});
