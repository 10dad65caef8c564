/** Cross-entropy over few classes, whose logits are all at hand; over a vocabulary, see `causal-lm.ts`. */
import type { Value } from "../tensor/graph.ts";
import {
  cast,
  constant,
  equal,
  greaterOrEqual,
  logSumExp,
  mul,
  range,
  reduceMax,
  reduceSum,
  reshape,
  stopGradient,
  sub,
  where,
} from "../tensor/ops/index.ts";

/** @param logits [N, K] @param labels int64 [N], 0 to K - 1
 * @returns losses [N] in nats; correct [N], 1 where no class has a larger logit than the label */
export function crossEntropy(logits: Value, labels: Value): { losses: Value; correct: Value } {
  const { graph } = logits;
  const [N, K] = [logits.shape[0]!, logits.shape[1]!];
  const isLabel = equal(reshape(labels, [N, 1]), reshape(range(graph, K), [1, K]));
  const labelLogits = reduceSum(mul(logits, cast(isLabel, "float32")), [-1]); // [N]
  const best = stopGradient(reduceMax(logits, [-1]));
  const correct = where(greaterOrEqual(labelLogits, best), constant(graph, 1), constant(graph, 0));
  return { losses: sub(logSumExp(logits), labelLogits), correct };
}
