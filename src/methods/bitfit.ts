/**
 * BitFit: only the biases are trained. Ben Zaken et al. 2021, https://arxiv.org/abs/2106.10199.
 * The biases of norms are among them, as in the paper. They are the model's own weights, so a run writes a whole model.
 */
import { z } from "zod";
import { UnsupportedError } from "../base/errors.ts";
import { belongsToTask } from "../models/label-heads.ts";
import type { ParameterSpec } from "../models/segment-builder.ts";
import { defineMethod } from "./method.ts";

const isBias = ({ kind, name }: ParameterSpec): boolean => kind === "bias" || name.endsWith(".bias");

export const bitfit = defineMethod({
  name: "bitfit",
  summary: "Train only the biases: a thousandth of the weights, and nothing added to the model. For families that have biases.",
  paper: "https://arxiv.org/abs/2106.10199",
  configSchema: z.strictObject({ name: z.literal("bitfit") }),
  attach({ model, parameters }) {
    // Those of a new head are trained anyway, and are none of the model.
    const biases = new Set(parameters.filter((spec) => isBias(spec) && !belongsToTask(model, spec.name)).map(({ name }) => name));
    if (biases.size === 0)
      throw new UnsupportedError(
        `method.name: bitfit trains biases, and this model (${model.modelType}) has none. Use ia3 or lora, or method.name: freeze with trainable: ["*norm*"].`,
      );
    return { hooks: {}, added: [], trains: (name) => biases.has(name) };
  },
});
