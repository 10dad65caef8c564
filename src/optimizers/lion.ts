/** Lion: every weight moves by the learning rate, in the direction that a moving average of the gradient has. Chen et al. 2023, https://arxiv.org/abs/2302.06675. */
import { z } from "zod";
import type { Value } from "../tensor/graph.ts";
import { add, cast, constant, less, mul, sub } from "../tensor/ops/index.ts";
import type { Optimizer, UpdateRule } from "./optimizer.ts";
import { sharedFields } from "./settings/fields.ts";

const configSchema = z.strictObject({
  name: z.literal("lion"),
  ...sharedFields({ learningRate: 5e-5, advice: "A third to a tenth of AdamW's, with a weight decay three to ten times as high." }),
  beta1: z.number().min(0).lt(1).default(0.9).describe("Share of the average in the direction of a step."),
  beta2: z.number().min(0).lt(1).default(0.99).describe("Decay of the average."),
});
type Config = z.output<typeof configSchema>;

const rule = {
  works: "on elements",
  state: (shape) => ({ expAvg: { shape } }),
  hyperValues: (_, { learningRate, weightDecay }) => ({ learningRate, decay: 1 - learningRate * weightDecay }),
  buildUpdate({ parameter, gradient, state, hyper }, { beta1, beta2 }) {
    const direction = sign(add(mul(state.expAvg!, beta1), mul(gradient, 1 - beta1)));
    const expAvg = add(mul(state.expAvg!, beta2), mul(gradient, 1 - beta2));
    return { parameter: sub(mul(parameter, hyper.decay!), mul(direction, hyper.learningRate!)), state: { expAvg } };
  },
} as const satisfies UpdateRule<Config>;

/** -1, 0 or 1. */
function sign(x: Value): Value {
  const zero = constant(x.graph, 0);
  return sub(cast(less(zero, x), "float32"), cast(less(x, zero), "float32"));
}

export const lion = {
  name: "lion",
  summary: "Steps of equal size in the sign of the averaged gradient; half of AdamW's state.",
  paper: "https://arxiv.org/abs/2302.06675",
  configSchema,
  ruleFor: () => rule,
} as const satisfies Optimizer<Config>;
