/** AdamW: Adam with weight decay decoupled from the gradient. Loshchilov and Hutter 2017, https://arxiv.org/abs/1711.05101; bias correction as in torch. */
import { z } from "zod";
import { add, div, mul, sqrt, sub } from "../tensor/ops/index.ts";
import type { Optimizer } from "./optimizer.ts";

const configSchema = z.strictObject({
  name: z.literal("adamw"),
  learningRate: z.number().positive().default(2e-4).describe("Peak learning rate. LoRA: 1e-4 to 1e-3; full fine-tuning: 1e-5 to 5e-5."),
  weightDecay: z.number().min(0).default(0).describe("Decoupled weight decay; norms and biases are never decayed."),
  beta1: z.number().min(0).lt(1).default(0.9).describe("Decay of the first moment."),
  beta2: z.number().min(0).lt(1).default(0.999).describe("Decay of the second moment."),
  epsilon: z.number().positive().default(1e-8).describe("Added to the root of the second moment."),
});

export const adamw = {
  name: "adamw",
  summary: "Adam with decoupled weight decay: the usual choice.",
  paper: "https://arxiv.org/abs/1711.05101",
  configSchema,
  stateNames: ["expAvg", "expAvgSq"],
  hyperValues: ({ beta1, beta2, weightDecay }, { step, learningRate, decays }) => ({
    stepSize: learningRate / (1 - beta1 ** step),
    inverseRootCorrection: 1 / Math.sqrt(1 - beta2 ** step),
    decay: 1 - (decays ? learningRate * weightDecay : 0),
  }),
  buildUpdate({ parameter, gradient, state, hyper }, { beta1, beta2, epsilon }) {
    const expAvg = add(mul(state.expAvg!, beta1), mul(gradient, 1 - beta1));
    const expAvgSq = add(mul(state.expAvgSq!, beta2), mul(mul(gradient, gradient), 1 - beta2));
    const denominator = add(mul(sqrt(expAvgSq), hyper.inverseRootCorrection!), epsilon);
    const moved = sub(mul(parameter, hyper.decay!), mul(div(expAvg, denominator), hyper.stepSize!));
    return { parameter: moved, state: { expAvg, expAvgSq } };
  },
} as const satisfies Optimizer<z.output<typeof configSchema>>;
