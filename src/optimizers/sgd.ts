/** Stochastic gradient descent with momentum, as in torch: the decay is part of the gradient, and the first buffer is the first gradient. Sutskever et al. 2013. */
import { z } from "zod";
import { add, mul, sub } from "../tensor/ops/index.ts";
import type { Optimizer, UpdateRule } from "./optimizer.ts";
import { sharedFields } from "./settings/fields.ts";

const configSchema = z
  .strictObject({
    name: z.literal("sgd"),
    ...sharedFields({ learningRate: 1e-2, advice: "Far above AdamW's; it depends on the scale of the gradients." }),
    momentum: z.number().min(0).lt(1).default(0.9).describe("Decay of the sum of gradients; 0 keeps no state."),
    dampening: z.number().min(0).max(1).default(0).describe("Share of each new gradient that is left out of the sum."),
    nesterov: z.boolean().default(false).describe("Look ahead along the sum before stepping."),
  })
  .refine(({ nesterov, momentum, dampening }) => !nesterov || (momentum > 0 && dampening === 0), {
    path: ["nesterov"],
    message: "needs a momentum above 0 and a dampening of 0",
  });
type Config = z.output<typeof configSchema>;

const plain = {
  works: "on elements",
  state: () => ({}),
  hyperValues: (_, { learningRate, weightDecay }) => ({ learningRate, weightDecay }),
  buildUpdate({ parameter, gradient, hyper }) {
    const whole = add(gradient, mul(parameter, hyper.weightDecay!));
    return { parameter: sub(parameter, mul(whole, hyper.learningRate!)), state: {} };
  },
} as const satisfies UpdateRule<Config>;

const withMomentum = {
  works: "on elements",
  state: (shape) => ({ momentumBuffer: { shape } }),
  hyperValues: ({ momentum, dampening }, { step, learningRate, weightDecay }) => ({
    ...{ learningRate, weightDecay },
    kept: step === 1 ? 0 : momentum,
    taken: step === 1 ? 1 : 1 - dampening,
  }),
  buildUpdate({ parameter, gradient, state, hyper }, { momentum, nesterov }) {
    const whole = add(gradient, mul(parameter, hyper.weightDecay!));
    const momentumBuffer = add(mul(state.momentumBuffer!, hyper.kept!), mul(whole, hyper.taken!));
    const direction = nesterov ? add(whole, mul(momentumBuffer, momentum)) : momentumBuffer;
    return { parameter: sub(parameter, mul(direction, hyper.learningRate!)), state: { momentumBuffer } };
  },
} as const satisfies UpdateRule<Config>;

export const sgd = {
  name: "sgd",
  summary: "Gradient descent with momentum; the least state.",
  paper: "https://proceedings.mlr.press/v28/sutskever13.html",
  configSchema,
  ruleFor: (_, { momentum }) => (momentum > 0 ? withMomentum : plain),
} as const satisfies Optimizer<Config>;
