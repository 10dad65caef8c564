/** DARE: drop values at random, rescale the rest, add. Yu et al. 2023, https://arxiv.org/abs/2311.03099. */
import { z } from "zod";
import { keepRandom, weightedSum } from "../task-vectors.ts";
import { defineCombiner, density } from "./combiner.ts";

export const dareLinear = defineCombiner({
  name: "dare_linear",
  summary: "Drops values at random and rescales the rest, then adds them by weight.",
  paper: "https://arxiv.org/abs/2311.03099",
  configSchema: z.strictObject({ name: z.literal("dare_linear"), density }),
  of: "task vectors",
  combine: (tensors, { weights, random }, config) =>
    weightedSum(
      tensors.map((tensor) => keepRandom(tensor, config.density, random)),
      weights,
    ),
});
