/** AdamW: Adam with weight decay decoupled from the gradient. Loshchilov and Hutter 2017, https://arxiv.org/abs/1711.05101; bias correction as in torch. */
import { z } from "zod";
import { add, div, mul, sqrt, sub } from "../tensor/ops/index.ts";
import type { Optimizer, UpdateRule } from "./optimizer.ts";
import { adamFields, sharedFields } from "./settings/fields.ts";

const configSchema = z.strictObject({
  name: z.literal("adamw"),
  ...sharedFields({ learningRate: 2e-4, advice: "LoRA: 1e-4 to 1e-3; full fine-tuning: 1e-5 to 5e-5." }),
  ...adamFields,
});

export const adamwRule = {
  works: "on elements",
  state: (shape) => ({ expAvg: { shape }, expAvgSq: { shape } }),
  // The correction of the second moment is taken out of the root, into step size and epsilon: one pass over the weights less.
  hyperValues({ beta1, beta2, epsilon }, { step, learningRate, weightDecay }) {
    const rootCorrection = Math.sqrt(1 - beta2 ** step);
    return {
      stepSize: (learningRate * rootCorrection) / (1 - beta1 ** step),
      epsilon: epsilon * rootCorrection,
      decay: 1 - learningRate * weightDecay,
    };
  },
  buildUpdate({ parameter, gradient, state, hyper }, { beta1, beta2 }) {
    const expAvg = add(mul(state.expAvg!, beta1), mul(gradient, 1 - beta1));
    const expAvgSq = add(mul(state.expAvgSq!, beta2), mul(mul(gradient, gradient), 1 - beta2));
    const denominator = add(sqrt(expAvgSq), hyper.epsilon!);
    const moved = sub(mul(parameter, hyper.decay!), mul(div(expAvg, denominator), hyper.stepSize!));
    return { parameter: moved, state: { expAvg, expAvgSq } };
  },
} as const satisfies UpdateRule<{ beta1: number; beta2: number; epsilon: number }>;

export const adamw = {
  name: "adamw",
  summary: "Adam with decoupled weight decay: the usual choice.",
  paper: "https://arxiv.org/abs/1711.05101",
  configSchema,
  ruleFor: () => adamwRule,
} as const satisfies Optimizer<z.output<typeof configSchema>>;
