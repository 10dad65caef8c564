/** What an update adds to a run: replayed documents, and penalties that hold the weights near where they were. */
import { ConfigError } from "../base/errors.ts";
import { createRandom } from "../base/random.ts";
import type { TokenizedExample } from "../data/batch.ts";
import { collate, documentsOf } from "../data/batches.ts";
import type { Collator } from "../data/collators.ts";
import type { SegmentedTrainingEngine } from "../execution/training-engine.ts";
import type { ParameterStore } from "../execution/weights/parameter-store.ts";
import { createWeightPenalty, estimateFisher, type WeightPenalty } from "../trainers/weight-penalty.ts";
import type { RunConfig } from "./config.ts";
import type { EarlierRun } from "./earlier-run.ts";

export type UpdateConfig = NonNullable<RunConfig["update"]>;

/** The configuration with what follows from the earlier run and from `update.kl`.
 * @throws ConfigError if it names another model than the earlier run left, or an objective that the KL term does not go with */
export function resolveUpdate(config: RunConfig, earlier: EarlierRun): RunConfig {
  if (config.model !== earlier.model)
    throw new ConfigError(
      `model: is ${config.model}; the run in update.from left ${earlier.model}. Leave model out and use tunesmith update.`,
    );
  const { kl } = config.update!;
  if (kl === 0) return config;
  if (config.objective.name !== "causal-lm" || config.objective.labelSmoothing)
    throw new ConfigError("update.kl: goes with the objective causal-lm without label smoothing; take one of the two out.");
  const shape = { divergence: "forward-kl", mixture: 0.5, temperature: 1 };
  return { ...config, objective: { name: "distillation", teacher: "start", ...shape, labelWeight: 1, divergenceWeight: kl } };
}

/** New documents of an epoch with drawn ones of the earlier runs, so that these make up `share` of all; other draws each epoch. */
export function withReplay(
  fresh: readonly TokenizedExample[],
  { earlier, share, seed, epoch }: { earlier: readonly TokenizedExample[]; share: number; seed: number; epoch: number },
): readonly TokenizedExample[] {
  const wanted = Math.min(earlier.length, Math.round((fresh.length * share) / (1 - share)));
  const random = createRandom(Math.imul(seed, 2_000_003) + epoch);
  return [...fresh, ...random.shuffle([...earlier]).slice(0, wanted)];
}

export async function createPenalties(
  { l2sp, ewc }: UpdateConfig,
  {
    engine,
    store,
    earlier,
    collator,
    seed,
  }: {
    engine: SegmentedTrainingEngine;
    store: ParameterStore;
    earlier: readonly TokenizedExample[];
    collator: Collator;
    seed: number;
  },
): Promise<WeightPenalty[]> {
  const { trained } = store;
  const penalties: WeightPenalty[] = [];
  if (l2sp > 0) penalties.push(await createWeightPenalty({ trained, strength: l2sp }));
  if (ewc) {
    const chosen = createRandom(seed)
      .shuffle([...earlier])
      .slice(0, ewc.documents);
    const importance = await estimateFisher({
      engine,
      trained,
      documents: chosen.map((example) =>
        collate(
          documentsOf(example).map((document) => [document]),
          collator,
        ),
      ),
    });
    penalties.push(await createWeightPenalty({ trained, strength: ewc.strength, importance }));
  }
  return penalties;
}
