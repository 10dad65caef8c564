/** What a run will need, before it starts: memory from the sizes of what is held, time from a step that is measured. */
import type { Batch } from "../data/batch.ts";
import type { SegmentedTrainingEngine } from "../execution/training-engine.ts";
import type { ParameterStore } from "../execution/weights/parameter-store.ts";
import type { PreparedRun } from "./prepare.ts";

export interface RunEstimate {
  readonly peakBytes: number;
  /** What the peak is made of, bytes. */
  readonly parts: Readonly<Record<string, number>>;
  readonly secondsPerStep: number;
}

/**
 * Node with the thread of a run, ONNX Runtime, sessions for training and evaluation, rows, garbage: what is left of the peaks of three small
 * runs (`bench/estimate.ts` and docs/log.md). Steps alone, as the bench measures them, leave 165 to 210 MB.
 */
const processBytes = 255e6;
/** Memory that graphs pass values in is taken in larger pieces than what is asked for, and freed pieces stay; fitted to the bench shapes. */
const workingFactor = 2;

/** What the estimate needs of a prepared run. */
export interface RunToEstimate extends Pick<PreparedRun, "engine" | "batchesForEpoch"> {
  readonly loaded: Pick<PreparedRun["loaded"], "store">;
  readonly average?: PreparedRun["average"];
}

/** Takes three steps without gradients and at a learning rate of 0: what they change is the optimizer's state, so the run that starts has to be prepared anew. */
export async function estimateRun(
  { loaded, engine, average, batchesForEpoch }: RunToEstimate,
  { gradientAccumulationSteps }: { gradientAccumulationSteps: number },
): Promise<RunEstimate> {
  const batches = batchesForEpoch(0);
  const sizes = batches.map(({ batchSize, tokens }) => batchSize * tokens);
  const largest = batches[sizes.indexOf(Math.max(...sizes))]!;
  // The first step compiles and touches memory for the first time.
  const steps = [];
  for (let step = 1; step <= 3; step++) steps.push(await timeStep(engine, { batch: largest, step }));
  const [, ...warm] = steps;
  const micro = Math.min(...warm.map(({ accumulate }) => accumulate));
  const update = Math.min(...warm.map(({ update }) => update));
  const meanSize = sizes.reduce((sum, size) => sum + size, 0) / sizes.length;
  const parts = {
    ...(await predictMemory(engine, { store: loaded.store, batch: largest })),
    ...(average && { "average of the weights": average.sizeBytes }),
  };
  return {
    parts,
    peakBytes: Object.values(parts).reduce((sum, bytes) => sum + bytes, 0),
    // Smaller batches take less in proportion to their tokens.
    secondsPerStep: micro * (meanSize / Math.max(...sizes)) * Math.min(gradientAccumulationSteps, batches.length) + update,
  };
}

/** Seconds of the two halves of a step. */
async function timeStep(
  engine: SegmentedTrainingEngine,
  { batch, step }: { batch: Batch; step: number },
): Promise<{ accumulate: number; update: number }> {
  const started = performance.now();
  await engine.accumulate(batch, { gradientScale: 0, seed: step });
  const accumulated = performance.now();
  await engine.gradientNorm();
  await engine.update({ learningRate: 0, step, gradientScale: 1 });
  return { accumulate: (accumulated - started) / 1000, update: (performance.now() - accumulated) / 1000 };
}

/** Peak memory of the process by what it is for, once a batch of this size has been seen. */
export async function predictMemory(
  engine: SegmentedTrainingEngine,
  { store, batch }: { store: ParameterStore; batch: Batch },
): Promise<Record<string, number>> {
  const { kept, passing } = await engine.workingBytes(batch);
  return {
    process: processBytes,
    "frozen weights": store.frozenBytes,
    "trained weights and gradients": store.trainedBytes,
    "optimizer and activations": engine.memoryBytes() - store.frozenBytes - store.trainedBytes,
    "working memory": workingFactor * (kept + passing),
  };
}
