/** What a trainer drives. SegmentedTrainingEngine implements it; tests use small ones of their own. */
import type { Batch } from "../data/batch.ts";

export interface StepResult {
  /** Sum of target losses, nats. */
  readonly lossSum: number;
  /** Targets that count. */
  readonly tokens: number;
  readonly correct: number;
  /** How uneven the choices of routers were, where the engine balances them: 1 with one expert a token, all used alike. */
  readonly routerAuxLoss?: number;
}

export interface AccumulateOptions {
  readonly gradientScale: number;
  readonly seed: number;
  /** Weight of the routers' loss beside a target's; 0 where absent. */
  readonly routerAuxLossCoef?: number | undefined;
}

export interface EvaluationResult extends StepResult {
  /** Loss of every target in the order of the batch. */
  readonly perTarget: Float32Array;
  /** What the objective's metrics read, [N, K]; absent where it has none. */
  readonly predictions?: Float32Array;
}

/** Trained parameters, or some of them. */
export type TrainedWeights = ReadonlyMap<string, { readonly shape: readonly number[]; readonly data: Float32Array }>;

/** Everything that training changes. */
export interface EngineState {
  readonly parameters: TrainedWeights;
  readonly optimizer: ReadonlyMap<string, Float32Array | Uint8Array>;
}

export interface TrainingEngine {
  /**
   * Forward and backward of one micro-batch; adds d(lossSum)/d(parameter) * gradientScale to the accumulators, where the loss of each
   * target has the routers' of its batch beside it.
   */
  accumulate(batch: Batch, options: AccumulateOptions): Promise<StepResult>;
  evaluate(batch: Batch): Promise<EvaluationResult>;
  /** Empties the accumulators. */
  discardGradients(): void;
  /** L2 norm over all accumulated gradients. */
  gradientNorm(): Promise<number>;
  /** One optimizer step on the accumulated gradients times gradientScale; then the accumulators are empty. @param step counts from 1 */
  update(options: { learningRate: number; step: number; gradientScale: number }): Promise<void>;
  /** Views of the live state; copy what must not change. */
  readState(): Promise<EngineState>;
  writeState(state: EngineState): Promise<void>;
  /** Into the parameters that are named; the optimizer's state stays. */
  writeWeights(weights: TrainedWeights): Promise<void>;
}
