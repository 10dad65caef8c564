/** Model soup: the weighted mean of whole models; equal weights give the uniform soup. Wortsman et al. 2022, https://arxiv.org/abs/2203.05482. */
import { z } from "zod";
import { weightedSum } from "../task-vectors.ts";
import { defineCombiner } from "./combiner.ts";

export const soup = defineCombiner({
  name: "soup",
  summary: "The mean of models, by weight: for several tunings of one base on one task.",
  paper: "https://arxiv.org/abs/2203.05482",
  configSchema: z.strictObject({ name: z.literal("soup") }),
  of: "weights",
  weightsProblem: (given) => (given && sum(given) === 0 ? "they add up to 0, so there is no mean." : undefined),
  combine(tensors, { weights }) {
    const total = sum(weights);
    return weightedSum(
      tensors,
      weights.map((weight) => weight / total),
    );
  },
});

const sum = (weights: readonly number[]): number => weights.reduce((total, weight) => total + weight, 0);
