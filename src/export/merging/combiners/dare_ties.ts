/** DARE with TIES' vote: drop at random and rescale, elect a sign, average what has it. https://arxiv.org/abs/2311.03099. */
import { z } from "zod";
import { disjointMean, keepRandom } from "../task-vectors.ts";
import { defineCombiner, density, majoritySignMethod } from "./combiner.ts";

export const dareTies = defineCombiner({
  name: "dare_ties",
  summary: "Drops values at random and rescales the rest, then elects signs and averages as TIES does.",
  paper: "https://arxiv.org/abs/2311.03099",
  configSchema: z.strictObject({ name: z.literal("dare_ties"), density, majoritySignMethod }),
  of: "task vectors",
  combine: (tensors, { weights, random }, config) =>
    disjointMean(
      tensors.map((tensor) => keepRandom(tensor, config.density, random)),
      weights,
      config.majoritySignMethod,
    ),
});
