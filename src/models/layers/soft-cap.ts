/** Soft-capping of attention scores and logits. Gemma 2, https://arxiv.org/abs/2408.00118. */
import type { Value } from "../../tensor/graph.ts";
import { mul, tanh } from "../../tensor/ops/index.ts";

/** cap * tanh(x / cap): x where it is small, never beyond +-cap; x itself without a cap. */
export const softCapped = (x: Value, cap: number | undefined): Value => (cap === undefined ? x : mul(tanh(mul(x, 1 / cap)), cap));
