/**
 * Schedule-free AdamW: an average of the iterates takes the place of a falling learning rate. Defazio et al. 2024,
 * https://arxiv.org/abs/2405.15682. Three points: z is stepped, x is the average of the z, and gradients are taken at
 *   y = (1 - beta1) z + beta1 x
 * y is what is trained and held as the weights, z is state, and x, which is evaluated and saved, follows from the two.
 * Warm up with the schedule `constant`; a schedule that falls works against the average.
 */
import { z } from "zod";
import { add, div, mul, sqrt, sub } from "../tensor/ops/index.ts";
import type { Optimizer, UpdateRule } from "./optimizer.ts";
import { adamFields, sharedFields } from "./settings/fields.ts";

const configSchema = z.strictObject({
  name: z.literal("schedule-free-adamw"),
  ...sharedFields({ learningRate: 1e-3, advice: "One to ten times AdamW's." }),
  ...adamFields,
  beta1: z.number().gt(0).lt(1).default(0.9).describe("Share of the average in the point where gradients are taken."),
  r: z.number().min(0).default(0).describe("Step t has the weight t^r in the average; above 0 late steps count more."),
  weightLrPower: z.number().min(0).default(2).describe("While warming up a step has the weight (learning rate)^this in the average."),
});
type Config = z.output<typeof configSchema>;

const rule = {
  works: "on elements",
  state: (shape) => ({ z: { shape, start: "parameter" }, expAvgSq: { shape } }),
  hyperValues: ({ beta1, beta2 }, { step, learningRate, weightDecay, memory }) => ({
    ...{ learningRate, weightDecay },
    share: memory.share!,
    pull: learningRate * (1 - beta1 * (1 - memory.share!)),
    inverseRootCorrection: 1 / Math.sqrt(1 - beta2 ** step),
  }),
  buildUpdate({ parameter: y, gradient, state, hyper }, { beta2, epsilon }) {
    const expAvgSq = add(mul(state.expAvgSq!, beta2), mul(mul(gradient, gradient), 1 - beta2));
    const denominator = add(mul(sqrt(expAvgSq), hyper.inverseRootCorrection!), epsilon);
    const direction = add(div(gradient, denominator), mul(y, hyper.weightDecay!));
    const nearer = add(y, mul(sub(state.z!, y), hyper.share!));
    return {
      parameter: sub(nearer, mul(direction, hyper.pull!)),
      state: { z: sub(state.z!, mul(direction, hyper.learningRate!)), expAvgSq },
    };
  },
} as const satisfies UpdateRule<Config>;

export const scheduleFreeAdamw = {
  name: "schedule-free-adamw",
  summary: "AdamW with averaging of the iterates in place of a schedule.",
  paper: "https://arxiv.org/abs/2405.15682",
  configSchema,
  defaultSchedule: { name: "constant", warmupRatio: 0.03 },
  ruleFor: () => rule,
  /** `share`: weight of this step's z in the average. Factors on a group's rate fall out of it. */
  remember({ r, weightLrPower }, { largestRate = 0, weightSum = 0 }, { step, learningRate }) {
    const rate = Math.max(largestRate, learningRate);
    const weight = step ** r * rate ** weightLrPower;
    const sum = weightSum + weight;
    return { largestRate: rate, weightSum: sum, share: sum > 0 ? weight / sum : 0 };
  },
  buildEvaluationWeights: ({ parameter: y, state }, { beta1 }) => add(y, mul(sub(state.z!, y), 1 - 1 / beta1)),
} as const satisfies Optimizer<Config>;
