/** What a run will need, before it starts: memory and time of its first steps, which are taken to find out. */
import type { Batch } from "../data/batch.ts";
import { largestOf, sizeOf } from "../data/batches.ts";
import { chunksOf } from "../execution/model-pass.ts";
import type { SegmentedTrainingEngine } from "../execution/training-engine.ts";
import type { PreparedRun } from "./prepare.ts";

export interface RunEstimate {
  readonly peakBytes: number;
  /** What the peak is made of, bytes. */
  readonly parts: Readonly<Record<string, number>>;
  readonly secondsPerStep: number;
}

/** What the estimate needs of a prepared run. */
export interface RunToEstimate extends Pick<PreparedRun, "engine" | "batchesForEpoch"> {
  readonly loaded: { readonly store: Pick<PreparedRun["loaded"]["store"], "frozenBytes" | "trainedBytes"> };
  readonly average?: PreparedRun["average"];
  readonly validation?: PreparedRun["validation"];
}

export interface EstimateOptions {
  readonly gradientAccumulationSteps: number;
  /** Most memory that the process has held, bytes. */
  peakMemoryBytes(): number;
}

/**
 * What three steps do not show of a whole run: code that is compiled later, checkpoints on their way to disk, the report, and blocks that
 * malloc keeps scattered as lengths change. Five small runs of the command took 21 to 51 MB more than their first steps (docs/log.md).
 */
const laterBytes = 40e6;

/**
 * Takes the first steps of a run without gradients and at a learning rate of 0: what they change is the optimizer's state, so the run that
 * starts has to be prepared anew.
 */
export async function estimateRun(
  run: RunToEstimate,
  { gradientAccumulationSteps, peakMemoryBytes }: EstimateOptions,
): Promise<RunEstimate> {
  const { engine, validation, batchesForEpoch } = run;
  const batches = batchesForEpoch(0);
  const largest = largestOf(batches);
  // A run begins with an evaluation, whose batches take as many tokens.
  if (validation) await engine.evaluate(largest);
  const steps = [];
  for (let step = 1; step <= 3; step++) steps.push(await timeStep(engine, { batch: largest, step }));
  // Gradients that others are added to come out of the graphs beside them.
  const more = gradientAccumulationSteps > 1 && batches.length > 1 ? [largest, largest] : [];
  for (const batch of [...more, ...largestOfOtherPrograms(batches, largest)]) await engine.accumulate(batch, { gradientScale: 0, seed: 0 });
  engine.discardGradients();
  const measuredBytes = peakMemoryBytes();
  // The first step compiles and touches memory for the first time.
  const [, ...warm] = steps;
  const micro = Math.min(...warm.map(({ accumulate }) => accumulate));
  const update = Math.min(...warm.map(({ update }) => update));
  const meanSize = batches.reduce((sum, batch) => sum + sizeOf(batch), 0) / batches.length;
  return {
    peakBytes: measuredBytes + laterBytes,
    parts: { ...(await splitPeak(run, { measuredBytes, batch: largest })), "rest of the run": laterBytes },
    // Smaller batches take less in proportion to their tokens.
    secondsPerStep: micro * (meanSize / sizeOf(largest)) * Math.min(gradientAccumulationSteps, batches.length) + update,
  };
}

/** What is known by its size, and the rest: code, rows, tokenizer, sessions, and what malloc and the collector have not given back. */
async function splitPeak(
  { engine, loaded: { store }, average }: RunToEstimate,
  { measuredBytes, batch }: { measuredBytes: number; batch: Batch },
): Promise<Record<string, number>> {
  const { kept, passing } = await engine.workingBytes(batch);
  const known = {
    "frozen weights": store.frozenBytes,
    "trained weights and gradients": store.trainedBytes,
    "optimizer and activations": engine.memoryBytes() - store.frozenBytes - store.trainedBytes,
    "working memory": kept + passing,
    ...(average && { "average of the weights": average.sizeBytes }),
  };
  return { process: measuredBytes - Object.values(known).reduce((sum, bytes) => sum + bytes, 0), ...known };
}

/** The largest batch for each set of compiled graphs beside those of the largest of all: their backward graphs keep memory of their own. */
function largestOfOtherPrograms(batches: readonly Batch[], largest: Batch): Batch[] {
  const programOf = (batch: Batch): string => JSON.stringify(chunksOf(batch));
  const found = new Map([[programOf(largest), largest]]);
  for (const batch of batches) {
    const known = found.get(programOf(batch));
    if (!known || sizeOf(batch) > sizeOf(known)) found.set(programOf(batch), batch);
  }
  return [...found.values()].filter((batch) => batch !== largest);
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
