/**
 * Quadratic penalties that hold trained weights near where they started: guards against forgetting.
 *   L2-SP  strength / 2 * sum (w - w0)^2           Li et al. 2018, https://arxiv.org/abs/1802.01483 (without its second term for new layers)
 *   EWC    strength / 2 * sum F (w - w0)^2         Kirkpatrick et al. 2017, https://arxiv.org/abs/1612.00796
 * F is the diagonal of the empirical Fisher information: the mean over documents of the squared gradient of the
 * document's log-likelihood. Of an adapter, w are the adapter's own parameters.
 */
import type { Batch } from "../data/batch.ts";
import type { TrainingEngine } from "../execution/engine.ts";
import type { TrainedVectors } from "../execution/weights/trained-tensors.ts";

export interface WeightPenalty {
  /** Adds the penalty's gradient to the accumulators. @param scale of what they hold @returns the penalty, in nats like the loss beside it */
  addGradients(scale?: number): Promise<number>;
}

export interface WeightPenaltyOptions {
  readonly trained: Pick<TrainedVectors, "onHost">;
  readonly strength: number;
  /** F for each vector; ones where absent, which is L2-SP. */
  readonly importance?: readonly Float32Array[];
}

/** A pull toward the values of now. */
export async function createWeightPenalty({ trained, strength, importance }: WeightPenaltyOptions): Promise<WeightPenalty> {
  const anchors = (await trained.onHost()).map(({ parameters }) => parameters.slice());
  return {
    async addGradients(scale = 1) {
      let sum = 0;
      for (const [v, { parameters, gradients }] of (await trained.onHost()).entries()) {
        const [anchor, weights] = [anchors[v]!, importance?.[v]];
        for (let i = 0; i < parameters.length; i++) {
          const distance = parameters[i]! - anchor[i]!;
          const pull = strength * (weights ? weights[i]! : 1) * distance;
          gradients[i]! += scale * pull;
          sum += pull * distance;
        }
      }
      return sum / 2;
    },
  };
}

/** The diagonal of the empirical Fisher information on documents. @param documents batches of one document each */
export async function estimateFisher({
  engine,
  trained,
  documents,
}: {
  engine: Pick<TrainingEngine, "accumulate" | "discardGradients">;
  trained: Pick<TrainedVectors, "sizes" | "onHost">;
  documents: readonly Batch[];
}): Promise<Float32Array[]> {
  const fisher = trained.sizes.map((size) => new Float32Array(size));
  for (const document of documents) {
    await engine.accumulate(document, { gradientScale: 1, seed: 0 });
    for (const [v, { gradients }] of (await trained.onHost()).entries())
      for (let i = 0; i < gradients.length; i++) fisher[v]![i]! += gradients[i]! ** 2 / documents.length;
    engine.discardGradients();
  }
  return fisher;
}
