/** An optimizer on the trained tensors of a store: where the backend keeps them, if its state can stand there. */
import type { Backend } from "../../backends/backend.ts";
import type { Optimizer } from "../../optimizers/optimizer.ts";
import type { ParameterStore } from "../weights/parameter-store.ts";
import { createOptimizerOnDevice } from "./optimizer-on-device.ts";
import { createOptimizerOnGroups } from "./optimizer-on-groups.ts";
import type { TrainedOptimizer } from "./optimizer-state.ts";

export interface OptimizerOptions {
  readonly backend: Backend;
  readonly optimizer: Optimizer;
  readonly config: unknown;
  readonly store: ParameterStore;
}

export async function createOptimizer({ backend, optimizer, config, store }: OptimizerOptions): Promise<TrainedOptimizer> {
  const { deviceMemory: memory } = backend;
  if (memory && !encodesState({ optimizer, config, store })) return createOptimizerOnDevice({ memory, optimizer, config, store });
  return createOptimizerOnGroups({ backend, optimizer, config, groups: store.groups });
}

/** State in 8 bits is encoded on the host, so that it lives in its memory. */
const encodesState = ({ optimizer, config, store }: Omit<OptimizerOptions, "backend">): boolean =>
  store.groups.some(({ layout }) =>
    [...layout.values()].some(({ spec }) =>
      Object.values(optimizer.ruleFor(spec, config).state(spec.shape, config)).some(({ storage }) => storage !== undefined),
    ),
  );
