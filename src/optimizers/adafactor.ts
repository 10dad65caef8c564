/**
 * Adafactor: of a matrix's second moment only the means over rows and columns are kept. Shazeer and Stern 2018,
 * https://arxiv.org/abs/1804.04235; as transformers' Adafactor, with the settings of its Trainer (no relative step, no scaling
 * by the parameter) as defaults.
 */
import { z } from "zod";
import type { Value } from "../tensor/graph.ts";
import { add, div, maximum, mul, reciprocal, reduceMean, reshape, sqrt, sub } from "../tensor/ops/index.ts";
import type { Optimizer, UpdateRule } from "./optimizer.ts";
import { sharedFields } from "./settings/fields.ts";

const configSchema = z
  .strictObject({
    name: z.literal("adafactor"),
    ...sharedFields({ learningRate: 1e-3, advice: "Full fine-tuning: 1e-5 to 1e-3. Not used with relativeStep." }),
    relativeStep: z
      .boolean()
      .default(false)
      .describe("The peak rate is min(0.01, 1 / sqrt(step)) in place of learningRate; the schedule still multiplies it."),
    warmupInit: z.boolean().default(false).describe("With relativeStep: the rate starts at 1e-6 times the step."),
    scaleParameter: z.boolean().default(false).describe("The rate of a parameter is multiplied by its root mean square."),
    clipThreshold: z.number().positive().default(1).describe("Largest root mean square of an update before the rate."),
    decayRate: z.number().lt(0).default(-0.8).describe("At step t the second moment keeps 1 - t^decayRate of itself."),
    beta1: z.number().gt(0).lt(1).optional().describe("Decay of a first moment; without it none is kept."),
    epsilon1: z.number().positive().default(1e-30).describe("Added to the squared gradient."),
    epsilon2: z.number().positive().default(1e-3).describe("With scaleParameter: smallest root mean square that counts."),
  })
  .refine(({ warmupInit, relativeStep }) => !warmupInit || relativeStep, { path: ["warmupInit"], message: "needs relativeStep: true" });
type Config = z.output<typeof configSchema>;

/** Parameters of rank 2 and more are taken as stacks of matrices over their last two axes. */
const rule = (rank: number): UpdateRule<Config> => ({
  works: "on tensors",
  state(shape, { beta1 }) {
    const first = beta1 === undefined ? {} : { expAvg: { shape } };
    if (rank < 2) return { ...first, expAvgSq: { shape } };
    return { ...first, expAvgSqRow: { shape: shape.slice(0, -1) }, expAvgSqCol: { shape: [...shape.slice(0, -2), shape.at(-1)!] } };
  },
  hyperValues: ({ decayRate }, { step, learningRate, weightDecay }) => ({
    ...{ learningRate, weightDecay },
    kept: 1 - step ** decayRate,
    taken: step ** decayRate,
  }),
  buildUpdate({ parameter, gradient, state, hyper }, config) {
    const square = add(mul(gradient, gradient), config.epsilon1);
    const average = (old: Value, fresh: Value): Value => add(mul(old, hyper.kept!), mul(fresh, hyper.taken!));
    const moments = rank < 2 ? { expAvgSq: average(state.expAvgSq!, square) } : factoredMoments(square, { state, average });
    const inverseRoot = rank < 2 ? reciprocal(sqrt(moments.expAvgSq!)) : factoredInverseRoot(moments);
    const raw = mul(gradient, inverseRoot);
    const clip = maximum(mul(rms(raw), 1 / config.clipThreshold), 1);
    const rate = config.scaleParameter ? mul(hyper.learningRate!, maximum(rms(parameter), config.epsilon2)) : hyper.learningRate!;
    const step = mul(raw, div(rate, clip));
    const { beta1 } = config;
    const expAvg = beta1 === undefined ? undefined : add(mul(state.expAvg!, beta1), mul(step, 1 - beta1));
    const decayed = sub(parameter, mul(parameter, mul(rate, hyper.weightDecay!)));
    return { parameter: sub(decayed, expAvg ?? step), state: { ...moments, ...(expAvg && { expAvg }) } };
  },
});

type Values = Readonly<Record<string, Value>>;

/** Root mean square of all elements, []. */
const rms = (x: Value): Value =>
  sqrt(
    reduceMean(
      mul(x, x),
      x.shape.map((_, axis) => axis),
    ),
  );

/** Means of the squares [..., R, C] over each row [..., R] and each column [..., C]. */
const factoredMoments = (square: Value, { state, average }: { state: Values; average(old: Value, fresh: Value): Value }): Values => ({
  expAvgSqRow: average(state.expAvgSqRow!, reduceMean(square, [-1])),
  expAvgSqCol: average(state.expAvgSqCol!, reduceMean(square, [-2])),
});

/** 1 / sqrt(row column / mean of rows), [..., R, C]. */
function factoredInverseRoot({ expAvgSqRow: row, expAvgSqCol: column }: Values): Value {
  const byRow = sqrt(div(reduceMean(row!, [-1], { keepDims: true }), row!));
  const byColumn = reciprocal(sqrt(column!));
  return mul(reshape(byRow, [...row!.shape, 1]), reshape(byColumn, [...column!.shape.slice(0, -1), 1, column!.shape.at(-1)!]));
}

const ofVectors = rule(1);
const ofMatrices = rule(2);

export const adafactor = {
  name: "adafactor",
  summary: "The second moment of a matrix as row and column means: hardly any state.",
  paper: "https://arxiv.org/abs/1804.04235",
  configSchema,
  ruleFor: ({ shape }) => (shape.length < 2 ? ofVectors : ofMatrices),
  ownLearningRate({ relativeStep, warmupInit }, step) {
    return relativeStep ? Math.min(warmupInit ? 1e-6 * step : 1e-2, 1 / Math.sqrt(step)) : undefined;
  },
} as const satisfies Optimizer<Config>;
