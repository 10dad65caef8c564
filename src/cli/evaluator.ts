/** An engine that only evaluates. */
import type { LoadedModel } from "../execution/loaded-model.ts";
import { SegmentedTrainingEngine } from "../execution/training-engine.ts";
import { causalLm } from "../objectives/causal-lm.ts";
import type { BoundTask } from "../tasks/task.ts";

export function evaluatorOf({ backend, model, method, store }: LoadedModel, { objective }: BoundTask): SegmentedTrainingEngine {
  return new SegmentedTrainingEngine({
    ...{ backend, model, method, store, regularisers: [], activationCheckpointing: "none" },
    ...{ objective: objective ?? causalLm, objectiveConfig: { name: "causal-lm", labelSmoothing: 0 } },
  });
}
