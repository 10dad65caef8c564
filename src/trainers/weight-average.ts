/**
 * Averages of the weights over the steps of a run, which are evaluated and saved in place of the last weights.
 *   ema  average = decay * average + (1 - decay) * weights, after every step          Polyak averaging with exponential weights
 *   swa  the plain mean of the weights after chosen steps of the last part of the run  Izmailov et al. 2018, https://arxiv.org/abs/1803.05407
 * As torch.optim.swa_utils.AveragedModel: the first weights that go in are copied.
 */
import { z } from "zod";
import type { TrainedVectors } from "../execution/weights/trained-tensors.ts";

export const weightAverageSchema = z.discriminatedUnion("name", [
  z.strictObject({
    name: z.literal("ema"),
    decay: z
      .number()
      .min(0)
      .lt(1)
      .default(0.999)
      .describe(
        "Share of the average that stays at every step: it looks back about 1 / (1 - decay) steps, so 0.99 for a few hundred steps.",
      ),
  }),
  z.strictObject({
    name: z.literal("swa"),
    startRatio: z.number().min(0).lt(1).default(0.75).describe("Share of all steps after which averaging begins."),
    every: z.int().positive().default(1).describe("Steps between the weights that go in."),
  }),
]);
export type WeightAverageConfig = z.output<typeof weightAverageSchema>;

export interface WeightAverage {
  readonly sizeBytes: number;
  /** Takes in the weights of now. @param step steps done */
  add(step: number): Promise<void>;
  /** Writes the average into vectors of the sizes of those given; the weights themselves while nothing is averaged yet. */
  writeTo(vectors: readonly Float32Array[]): Promise<void>;
  /** Views of the live state. */
  readState(): ReadonlyMap<string, Float32Array>;
  writeState(state: ReadonlyMap<string, Float32Array>): void;
}

export interface WeightAverageOptions {
  readonly trained: Pick<TrainedVectors, "sizes" | "read">;
  readonly config: WeightAverageConfig;
  readonly totalSteps: number;
}

export function createWeightAverage({ trained, config, totalSteps }: WeightAverageOptions): WeightAverage {
  const averages = trained.sizes.map((size) => new Float32Array(size));
  let count = 0;
  const takes = (step: number): boolean => {
    if (config.name === "ema") return true;
    const after = step - Math.floor(config.startRatio * totalSteps);
    return after > 0 && after % config.every === 0;
  };
  const state = (): Map<string, Float32Array> =>
    new Map([["count", Float32Array.of(count)], ...averages.map((average, i) => [String(i), average] as const)]);
  return {
    sizeBytes: averages.reduce((sum, { byteLength }) => sum + byteLength, 0),
    async add(step) {
      if (!takes(step)) return;
      const share = count === 0 ? 1 : config.name === "ema" ? 1 - config.decay : 1 / (count + 1);
      for (const [v, parameters] of (await trained.read()).entries()) moveToward(averages[v]!, parameters, share);
      count++;
    },
    async writeTo(into) {
      const from = count === 0 ? await trained.read() : averages;
      for (const [v, vector] of into.entries()) vector.set(from[v]!);
    },
    readState: state,
    writeState(saved) {
      for (const [name, vector] of state()) vector.set(saved.get(name)!);
      count = saved.get("count")![0]!;
    },
  };
}

function moveToward(average: Float32Array, target: Float32Array, share: number): void {
  if (share === 1) average.set(target);
  else for (let i = 0; i < average.length; i++) average[i]! += share * (target[i]! - average[i]!);
}

/** Weights to evaluate and to save in place of those that are trained. */
export interface EvaluationWeights {
  /** Puts them in place. Nothing is trained or saved for resuming until `leave`. */
  enter(): Promise<void>;
  /** Puts the trained weights back, to the last bit. */
  leave(): Promise<void>;
}

/** Between steps the gradients are empty, so they hold the trained weights meanwhile and no memory is needed. */
export function createEvaluationWeights({
  trained,
  writeTo,
}: {
  trained: Pick<TrainedVectors, "onHost">;
  writeTo(vectors: readonly Float32Array[]): Promise<void>;
}): EvaluationWeights {
  return {
    async enter() {
      await writeTo((await trained.onHost()).map(({ gradients }) => gradients));
      for (const { parameters, gradients } of await trained.onHost()) exchange(parameters, gradients);
    },
    async leave() {
      for (const { parameters, gradients } of await trained.onHost()) {
        parameters.set(gradients);
        gradients.fill(0);
      }
    },
  };
}

function exchange(a: Float32Array, b: Float32Array): void {
  for (let i = 0; i < a.length; i++) [a[i], b[i]] = [b[i]!, a[i]!];
}
