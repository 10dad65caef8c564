/** Task arithmetic over task vectors of which only the largest values are kept, as in PEFT. */
import { z } from "zod";
import { keepLargest, weightedSum } from "../task-vectors.ts";
import { defineCombiner, density } from "./combiner.ts";

export const magnitudePrune = defineCombiner({
  name: "magnitude_prune",
  summary: "Keeps the largest values of every difference, then adds them by weight.",
  configSchema: z.strictObject({ name: z.literal("magnitude_prune"), density }),
  of: "task vectors",
  combine: (tensors, { weights }, config) =>
    weightedSum(
      tensors.map((tensor) => keepLargest(tensor, config.density)),
      weights,
    ),
});
