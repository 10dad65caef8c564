/** What a run will need, before it starts: memory from the sizes of what is held, time from one measured micro-batch. */
import type { PreparedRun } from "./prepare.ts";

export interface RunEstimate {
  readonly peakBytes: number;
  /** What the peak is made of, bytes. */
  readonly parts: Readonly<Record<string, number>>;
  readonly secondsPerStep: number;
}

/** Node, ONNX Runtime's library and compiled graphs, as measured on Linux: the memory of a process that holds no model. */
const processBytes = 150e6;

/** Runs one micro-batch forward and backward (without an optimizer step) for the time. */
export async function estimateRun(
  { loaded, engine, batchesForEpoch }: PreparedRun,
  { gradientAccumulationSteps }: { gradientAccumulationSteps: number },
): Promise<RunEstimate> {
  const { model, store } = loaded;
  const batches = batchesForEpoch(0);
  const largest = batches.reduce((a, b) => (b.batchSize * b.tokens > a.batchSize * a.tokens ? b : a));
  await engine.accumulate(largest, { gradientScale: 0, seed: 0 }); // compiles
  const started = performance.now();
  await engine.accumulate(largest, { gradientScale: 0, seed: 0 });
  const micro = (performance.now() - started) / 1000;
  const held = engine.memoryBytes() - store.frozenBytes - store.trainedBytes;
  // While a block runs, its widest intermediate values are alive beside what is kept; the head holds logits and their softmax.
  const rows = largest.batchSize * largest.tokens;
  const logits = 2 * Math.min(largest.targetLabels.length * model.vocabSize * 4, 48 * 1024 ** 2) + rows * model.hiddenSize * 4;
  const parts = {
    process: processBytes,
    "frozen weights": store.frozenBytes,
    "trained weights and gradients": store.trainedBytes,
    "optimizer and activations": held,
    "working memory": logits + 8 * rows * model.hiddenSize * 4,
  };
  return {
    peakBytes: Object.values(parts).reduce((sum, bytes) => sum + bytes, 0),
    parts,
    secondsPerStep: micro * Math.min(gradientAccumulationSteps, batches.length),
  };
}
