/**
 * Supervised fine-tuning, from the first batch to the last. Reads top to bottom.
 * The loss of a step is the mean over all supervised tokens of its micro-batches, so 4 x 1 and 1 x 4 are the same step.
 */
import { DivergenceError } from "../base/errors.ts";
import type { Batch } from "../data/batch.ts";
import type { TrainingEngine } from "../execution/engine.ts";
import type { CheckpointStore, TrainerState, TrainingCheckpoint } from "./checkpoint.ts";
import { observeLoss } from "./divergence.ts";
import { type LossScale, nextLossScale } from "./loss-scale.ts";
import type { EvaluationWeights, WeightAverage } from "./weight-average.ts";
import type { WeightPenalty } from "./weight-penalty.ts";

export interface SupervisedOptions {
  readonly engine: TrainingEngine;
  /** The same for the same epoch, or a resumed run would not be the run that was interrupted. */
  batchesForEpoch(epoch: number): readonly Batch[];
  readonly validation: readonly Batch[];
  readonly totalSteps: number;
  readonly gradientAccumulationSteps: number;
  /** Gradients are scaled down to this L2 norm; 0 turns clipping off. */
  readonly maxGradNorm: number;
  /** Before the plateau rule. @param step steps already done */
  learningRateAt(step: number): number;
  /** Where gradients pass through float16: the scale to begin with. */
  readonly lossScale?: LossScale | undefined;
  readonly seed: number;
  readonly evalEvery: number;
  readonly saveEvery: number;
  readonly earlyStopping?: { readonly patience: number; readonly minDelta: number } | undefined;
  readonly plateau?: { readonly factor: number; readonly patience: number } | undefined;
  /** Added to the loss of every step. */
  readonly penalties?: readonly WeightPenalty[];
  /** Weight of the loss that keeps the choices of routers even, where the engine gives it. */
  readonly routerAuxLossCoef?: number | undefined;
  /** Takes in the weights after every step. */
  readonly average?: WeightAverage | undefined;
  /** Evaluated in place of the trained weights, and left in place at the end of the run. */
  readonly evaluationWeights?: EvaluationWeights | undefined;
  readonly checkpoints?: CheckpointStore | undefined;
  /** Where an earlier run stopped; it is continued from there. */
  readonly start?: TrainingCheckpoint | undefined;
  readonly events: TrainerEvents;
  /** Once aborted, the step under way is finished and saved. */
  readonly signal?: AbortSignal | undefined;
}

export interface StepEvent {
  readonly step: number;
  readonly totalSteps: number;
  readonly epoch: number;
  /** Mean over the supervised tokens of the step, nats. */
  readonly loss: number;
  readonly learningRate: number;
  /** Before clipping. */
  readonly gradientNorm: number;
  /** Tokens that are not padding, by wall time of the step. */
  readonly tokensPerSecond: number;
  readonly tokens: number;
  /** Of the weights, beside the loss; absent where there is none. */
  readonly penalty?: number;
  /** That the gradients of the step were multiplied by, and the steps left out so far because they overflowed, this one included. */
  readonly lossScale?: number;
  readonly skippedSteps?: number;
  /** Of routers, before its weight; beside the loss. */
  readonly routerAuxLoss?: number;
}
export interface EvaluationEvent {
  readonly step: number;
  readonly loss: number;
  readonly tokenAccuracy: number;
  readonly isBest: boolean;
}
export interface TrainerEvents {
  onStep?(event: StepEvent): void;
  onEvaluation?(event: EvaluationEvent): void;
  onNotice?(message: string): void;
}

export interface TrainingOutcome {
  readonly status: "completed" | "stopped-early" | "interrupted";
  readonly step: number;
  readonly best: TrainerState["best"];
}

const freshState: TrainerState = {
  ...{ step: 0, epoch: 0, batchIndex: 0, best: null, evaluationsWithoutGain: 0, evaluationsOnPlateau: 0 },
  ...{ plateauFactor: 1, recentLosses: [], lowestRecent: null },
};

/** @throws DivergenceError if the loss or the gradient is no longer a number, or the loss has left for good */
export async function trainSupervised(options: SupervisedOptions): Promise<TrainingOutcome> {
  const { engine, totalSteps, events, checkpoints, average } = options;
  let state: TrainerState = options.start?.trainer ?? { ...freshState, ...(options.lossScale && { lossScale: options.lossScale }) };
  const restore = async (checkpoint: TrainingCheckpoint): Promise<void> => {
    await engine.writeState(checkpoint.engine);
    if (checkpoint.average) average?.writeState(checkpoint.average);
  };
  if (options.start) await restore(options.start);
  let batches = options.batchesForEpoch(state.epoch);
  let status: TrainingOutcome["status"] = "completed";
  let savedStep = options.start ? state.step : -1;
  const save = async (isBest: boolean): Promise<void> => {
    if (!checkpoints || (savedStep === state.step && !isBest)) return;
    await checkpoints.save({ trainer: state, engine: await engine.readState(), average: average?.readState() });
    savedStep = state.step;
  };

  while (state.step < totalSteps) {
    if (state.batchIndex >= batches.length) {
      state = { ...state, epoch: state.epoch + 1, batchIndex: 0 };
      batches = options.batchesForEpoch(state.epoch);
    }
    const micro = batches.slice(state.batchIndex, state.batchIndex + options.gradientAccumulationSteps);
    const scaleBefore = state.lossScale?.scale ?? 1;
    const { lossScale, ...result } = await takeStep(options, { state, micro });
    const skipped = (lossScale?.skippedSteps ?? 0) > (state.lossScale?.skippedSteps ?? 0);
    if (!skipped) await average?.add(state.step + 1);
    state = {
      ...state,
      step: state.step + 1,
      batchIndex: state.batchIndex + micro.length,
      ...observeLoss(state, { ...result, step: state.step + 1 }),
      ...(lossScale && { lossScale }),
    };
    const scaling = lossScale && { lossScale: scaleBefore, skippedSteps: lossScale.skippedSteps };
    events.onStep?.({ step: state.step, totalSteps, epoch: state.epoch, ...result, ...scaling });

    const last = state.step === totalSteps;
    const interrupted = options.signal?.aborted === true;
    if (options.validation.length > 0 && !interrupted && (last || state.step % options.evalEvery === 0)) {
      state = await evaluateAndJudge(options, state);
      const isBest = state.best?.step === state.step;
      if (isBest) await save(true);
      if (options.earlyStopping && state.evaluationsWithoutGain >= options.earlyStopping.patience) {
        status = "stopped-early";
        break;
      }
    }
    if (interrupted) {
      status = "interrupted";
      break;
    }
    if (state.step % options.saveEvery === 0) await save(false);
  }
  await save(false);

  if (status !== "interrupted" && checkpoints && state.best && state.best.step !== state.step) {
    // An average, or weights that the optimizer averages, need all of the state; otherwise nothing reads the optimizer's any more.
    if (options.evaluationWeights) await restore(await checkpoints.read(state.best.step));
    else for await (const weights of checkpoints.readWeights(state.best.step)) await engine.writeWeights(weights);
    events.onNotice?.(`restored the best checkpoint, step ${state.best.step} (validation loss ${state.best.loss.toFixed(4)})`);
  }
  if (status !== "interrupted") await options.evaluationWeights?.enter();
  return { status, step: state.step, best: state.best };
}

async function takeStep(options: SupervisedOptions, { state, micro }: { state: TrainerState; micro: readonly Batch[] }) {
  const { engine, maxGradNorm } = options;
  const started = performance.now();
  const scale = state.lossScale?.scale ?? 1;
  const targets = micro.reduce((sum, batch) => sum + batch.targetLabels.length, 0);
  let lossSum = 0;
  let routerAuxLoss: number | undefined;
  for (const [i, batch] of micro.entries()) {
    const seed = (options.seed * 31 + state.step) * 1024 + i;
    const result = await engine.accumulate(batch, { gradientScale: scale / targets, seed, routerAuxLossCoef: options.routerAuxLossCoef });
    lossSum += result.lossSum;
    if (result.routerAuxLoss !== undefined)
      routerAuxLoss = (routerAuxLoss ?? 0) + (result.routerAuxLoss * batch.targetLabels.length) / targets;
  }
  const loss = lossSum / targets;
  const penalties: number[] = [];
  for (const penalty of options.penalties ?? []) penalties.push(await penalty.addGradients(scale));
  const gradientNorm = (await engine.gradientNorm()) / scale;
  const learningRate = options.learningRateAt(state.step) * state.plateauFactor;
  const overflowed = state.lossScale !== undefined && !Number.isFinite(gradientNorm);
  if (!Number.isFinite(loss) || !(Number.isFinite(gradientNorm) || overflowed)) {
    const what = Number.isFinite(loss) ? `the gradient norm is ${gradientNorm}` : `the loss is ${loss}`;
    throw new DivergenceError(
      `step ${state.step + 1}: ${what} at learning rate ${learningRate}. The last losses were ${state.recentLosses.map((value) => value.toFixed(3)).join(", ") || "none"}. ` +
        "Lower optimizer.learningRate (a third is a good try), lengthen schedule.warmupSteps, or look for damaged rows; the last checkpoint is from before this step, so --resume with a lower rate continues.",
    );
  }
  if (overflowed) engine.discardGradients();
  else {
    const clip = maxGradNorm > 0 ? Math.min(1, maxGradNorm / (gradientNorm + 1e-6)) : 1;
    // The optimizer has not seen the steps that were left out.
    const step = state.step + 1 - (state.lossScale?.skippedSteps ?? 0);
    await engine.update({ learningRate, step, gradientScale: clip / scale });
  }
  const tokens = micro.reduce((sum, batch) => sum + batch.tokenCount, 0);
  return {
    ...{ loss, learningRate, gradientNorm, tokens, tokensPerSecond: tokens / ((performance.now() - started) / 1000) },
    ...(state.lossScale && { lossScale: nextLossScale(state.lossScale, { overflowed }) }),
    ...(routerAuxLoss !== undefined && { routerAuxLoss }),
    ...(penalties.length > 0 && { penalty: penalties.reduce((sum, value) => sum + value, 0) }),
  };
}

async function evaluateAndJudge(options: SupervisedOptions, state: TrainerState): Promise<TrainerState> {
  await options.evaluationWeights?.enter();
  const { loss, tokenAccuracy } = await evaluateLoss(options.engine, options.validation);
  await options.evaluationWeights?.leave();
  const minDelta = options.earlyStopping?.minDelta ?? 0;
  const isBest = state.best === null || loss < state.best.loss - minDelta;
  options.events.onEvaluation?.({ step: state.step, loss, tokenAccuracy, isBest });
  if (isBest) return { ...state, best: { step: state.step, loss }, evaluationsWithoutGain: 0, evaluationsOnPlateau: 0 };
  const judged = {
    ...state,
    evaluationsWithoutGain: state.evaluationsWithoutGain + 1,
    evaluationsOnPlateau: state.evaluationsOnPlateau + 1,
  };
  const { plateau } = options;
  if (!plateau || judged.evaluationsOnPlateau < plateau.patience) return judged;
  const plateauFactor = state.plateauFactor * plateau.factor;
  options.events.onNotice?.(
    `validation loss has not improved for ${judged.evaluationsOnPlateau} evaluations: learning rate lowered to ${plateauFactor.toPrecision(3)} of the schedule`,
  );
  return { ...judged, plateauFactor, evaluationsOnPlateau: 0 };
}

/** Mean over all targets of the batches. */
export async function evaluateLoss(
  engine: Pick<TrainingEngine, "evaluate">,
  batches: readonly Batch[],
): Promise<{ loss: number; tokenAccuracy: number }> {
  let [lossSum, tokens, correct] = [0, 0, 0];
  for (const batch of batches) {
    const result = await engine.evaluate(batch);
    lossSum += result.lossSum;
    tokens += result.tokens;
    correct += result.correct;
  }
  return { loss: lossSum / tokens, tokenAccuracy: correct / tokens };
}
