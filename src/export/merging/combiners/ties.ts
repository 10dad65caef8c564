/**
 * TIES: trim, elect a sign, merge what agrees with it. Yadav et al. 2023, https://arxiv.org/abs/2306.01708.
 * Differs, as PEFT does: every tensor is trimmed by itself, and weights act after the vote.
 */
import { z } from "zod";
import { disjointMean, keepLargest } from "../task-vectors.ts";
import { defineCombiner, density, majoritySignMethod } from "./combiner.ts";

export const ties = defineCombiner({
  name: "ties",
  summary: "Keeps the largest values, elects a sign at every place, and averages the values that have it.",
  paper: "https://arxiv.org/abs/2306.01708",
  configSchema: z.strictObject({ name: z.literal("ties"), density, majoritySignMethod }),
  of: "task vectors",
  combine: (tensors, { weights }, config) =>
    disjointMean(
      tensors.map((tensor) => keepLargest(tensor, config.density)),
      weights,
      config.majoritySignMethod,
    ),
});
