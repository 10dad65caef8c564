/** Fine-tuning of chosen parameters: everything else stays as it is. */
import { z } from "zod";
import { ConfigError } from "../base/errors.ts";
import { matchesGlob } from "../base/module-names.ts";
import { nearestName } from "../base/nearest-name.ts";
import { defineMethod } from "./method.ts";

export const freeze = defineMethod({
  name: "freeze",
  summary: "Train only the parameters whose names match a pattern; freeze the rest.",
  configSchema: z.strictObject({
    name: z.literal("freeze"),
    trainable: z
      .array(z.string())
      .min(1)
      .describe('Patterns of parameter names to train, for example "model.layers.28.*" or "norm.weight"; * is any run of characters.'),
  }),
  attach({ parameters }, config) {
    const problems = config.trainable
      .filter((pattern) => !parameters.some(({ name }) => matchesGlob(name, pattern)))
      .map((pattern) => {
        const nearest = nearestName(
          pattern,
          parameters.map(({ name }) => name),
        );
        return `method.trainable: "${pattern}" matches no parameter.${nearest ? ` The nearest is "${nearest}".` : ""}`;
      });
    if (problems.length > 0) throw new ConfigError(problems);
    const buffers = new Set(parameters.filter(({ kind }) => kind === "buffer").map(({ name }) => name));
    return { hooks: {}, added: [], trains: (name) => !buffers.has(name) && config.trainable.some((pattern) => matchesGlob(name, pattern)) };
  },
});
