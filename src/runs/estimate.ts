/** What a run will need, before it starts: memory from the sizes of what is held, time from one measured micro-batch. */
import type { Batch } from "../data/batch.ts";
import type { ParameterStore } from "../execution/parameter-store.ts";
import type { SegmentedTrainingEngine } from "../execution/training-engine.ts";
import type { PreparedRun } from "./prepare.ts";

export interface RunEstimate {
  readonly peakBytes: number;
  /** What the peak is made of, bytes. */
  readonly parts: Readonly<Record<string, number>>;
  readonly secondsPerStep: number;
}

/** What is left beside the counted parts: Node, ONNX Runtime, garbage. Fitted to the peaks of six bench shapes, not measured apart. */
const processBytes = 225e6;
/** ONNX Runtime's arenas grow in larger pieces than what is asked for; the factor is a guess that fits the same shapes. */
const arenaFactor = 1.6;

/** Runs one micro-batch forward and backward (without an optimizer step) for the time. */
export async function estimateRun(
  { loaded, engine, average, batchesForEpoch }: PreparedRun,
  { gradientAccumulationSteps }: { gradientAccumulationSteps: number },
): Promise<RunEstimate> {
  const batches = batchesForEpoch(0);
  const largest = batches.reduce((a, b) => (b.batchSize * b.tokens > a.batchSize * a.tokens ? b : a));
  await engine.accumulate(largest, { gradientScale: 0, seed: 0 }); // compiles
  const started = performance.now();
  await engine.accumulate(largest, { gradientScale: 0, seed: 0 });
  const micro = (performance.now() - started) / 1000;
  const parts = {
    ...(await predictMemory(engine, { store: loaded.store, batch: largest })),
    ...(average && { "average of the weights": average.sizeBytes }),
  };
  return {
    parts,
    peakBytes: Object.values(parts).reduce((sum, bytes) => sum + bytes, 0),
    secondsPerStep: micro * Math.min(gradientAccumulationSteps, batches.length),
  };
}

/** Peak memory of the process by what it is for, once a batch of this size has been seen. */
export async function predictMemory(
  engine: SegmentedTrainingEngine,
  { store, batch }: { store: ParameterStore; batch: Batch },
): Promise<Record<string, number>> {
  return {
    process: processBytes,
    "frozen weights": store.frozenBytes,
    "trained weights and gradients": store.trainedBytes,
    "optimizer and activations": engine.memoryBytes() - store.frozenBytes - store.trainedBytes,
    "working memory": arenaFactor * (await engine.workingBytes(batch)),
  };
}
