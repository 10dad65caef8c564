/** Task arithmetic: the weighted sum of task vectors. Ilharco et al. 2022, https://arxiv.org/abs/2212.04089. */
import { z } from "zod";
import { weightedSum } from "../task-vectors.ts";
import { defineCombiner } from "./combiner.ts";

export const taskArithmetic = defineCombiner({
  name: "task_arithmetic",
  summary: "Base plus the weighted sum of the differences; a negative weight takes a skill away.",
  paper: "https://arxiv.org/abs/2212.04089",
  configSchema: z.strictObject({ name: z.literal("task_arithmetic") }),
  of: "task vectors",
  combine: (tensors, { weights }) => weightedSum(tensors, weights),
});
