/**
 * Muon: the momentum of a matrix is replaced by the nearest orthogonal matrix, roughly, before it is stepped along. Jordan et al.
 * 2024, https://kellerjordan.github.io/posts/muon/; rates by shape: Liu et al. 2025, https://arxiv.org/abs/2502.16982; as in torch 2.13.
 * Differs: Newton-Schulz runs in float32, where torch rounds to bfloat16. Matrices of the layers only; embeddings, norms, biases and
 * tensors of other ranks are moved by AdamW.
 */
import { z } from "zod";
import type { Value } from "../tensor/graph.ts";
import { add, div, matmul, maximum, mul, reduceSum, sqrt, sub } from "../tensor/ops/index.ts";
import { adamwRule } from "./adamw.ts";
import type { Optimizer, UpdateRule } from "./optimizer.ts";
import { adamFields, sharedFields } from "./settings/fields.ts";

const configSchema = z.strictObject({
  name: z.literal("muon"),
  ...sharedFields({ learningRate: 2e-4, advice: "With match_rms_adamw as for adamw; with original about 0.02." }),
  momentum: z.number().min(0).lt(1).default(0.95).describe("Decay of the average of gradients of a matrix."),
  nesterov: z.boolean().default(true).describe("Look ahead along the average."),
  nsSteps: z.int().min(1).max(99).default(5).describe("Newton-Schulz iterations."),
  nsCoefficients: z.tuple([z.number(), z.number(), z.number()]).default([3.4445, -4.775, 2.0315]).describe("Of the quintic iteration."),
  nsEpsilon: z.number().positive().default(1e-7).describe("Smallest norm that a matrix is divided by."),
  adjustLrFn: z
    .enum(["match_rms_adamw", "original"])
    .default("match_rms_adamw")
    .describe("Rate by shape [A, B]: 0.2 sqrt(max(A, B)), so that steps are as long as AdamW's; or sqrt(max(1, A / B))."),
  adamwLearningRate: z.number().positive().optional().describe("Peak rate of what AdamW moves; learningRate where absent."),
  ...adamFields,
});
type Config = z.output<typeof configSchema>;

const adjustments: Readonly<Record<Config["adjustLrFn"], (rows: number, columns: number) => number>> = {
  match_rms_adamw: (rows, columns) => 0.2 * Math.sqrt(Math.max(rows, columns)),
  original: (rows, columns) => Math.sqrt(Math.max(1, rows / columns)),
};

/** @param tall more rows than columns: the products are then made of the columns, the smaller way round */
const matrixRule = (tall: boolean): UpdateRule<Config> => ({
  works: "on tensors",
  state: (shape) => ({ momentumBuffer: { shape } }),
  hyperValues: ({ adjustLrFn }, { learningRate, weightDecay, shape }) => ({
    stepSize: learningRate * adjustments[adjustLrFn](shape[0]!, shape[1]!),
    decay: 1 - learningRate * weightDecay,
  }),
  buildUpdate({ parameter, gradient, state, hyper }, config) {
    const { momentum, nesterov } = config;
    const momentumBuffer = add(mul(state.momentumBuffer!, momentum), mul(gradient, 1 - momentum));
    const direction = nesterov ? add(mul(gradient, 1 - momentum), mul(momentumBuffer, momentum)) : momentumBuffer;
    const orthogonal = orthogonalise(direction, { ...config, tall });
    return { parameter: sub(mul(parameter, hyper.decay!), mul(orthogonal, hyper.stepSize!)), state: { momentumBuffer } };
  },
});

/** U S V^T -> roughly U V^T: singular values go to between 0.7 and 1.2. [rows, columns] both. */
function orthogonalise(matrix: Value, { nsSteps, nsCoefficients: [a, b, c], nsEpsilon, tall }: Config & { tall: boolean }): Value {
  const norm = sqrt(reduceSum(mul(matrix, matrix), [0, 1]));
  let x = div(matrix, maximum(norm, nsEpsilon));
  for (let i = 0; i < nsSteps; i++) {
    const gram = matmul(x, x, tall ? { transposeA: true } : { transposeB: true });
    const polynomial = add(mul(gram, b), matmul(gram, gram, { alpha: c }));
    x = add(mul(x, a), tall ? matmul(x, polynomial) : matmul(polynomial, x));
  }
  return x;
}

const [wide, tall] = [matrixRule(false), matrixRule(true)];

/** AdamW's rule at its own rate. */
const restRule: UpdateRule<Config> = {
  ...adamwRule,
  hyperValues: (config, at) =>
    adamwRule.hyperValues(config, {
      ...at,
      learningRate: at.learningRate * ((config.adamwLearningRate ?? config.learningRate) / config.learningRate),
    }),
};

export const muon = {
  name: "muon",
  summary: "Orthogonalised momentum for matrices, AdamW for the rest.",
  paper: "https://kellerjordan.github.io/posts/muon/",
  configSchema,
  ruleFor({ shape, kind }) {
    if (shape.length !== 2 || kind === "embedding") return restRule;
    return shape[0]! > shape[1]! ? tall : wide;
  },
} as const satisfies Optimizer<Config>;
