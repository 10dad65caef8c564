/**
 * The loss that keeps the choices of routers even, as `load_balancing_loss_func` in transformers has it:
 *   E * sum_e f_e P_e, f_e the experts e that a token has, P_e the probability of e, means over the tokens of all layers with experts.
 * Fedus et al. 2021, https://arxiv.org/abs/2101.03961, equations 4 to 6. Padding does not count.
 *
 * A layer knows only its own tokens, so each block gives two sums beside its hidden state, and the loss is made of those of all
 * blocks. Choices have no gradient: what a block's sum of probabilities gets is f, which is known before the backward pass begins.
 */
import type { Routing } from "../../models/model.ts";
import type { ModelHooks } from "../../models/segment-builder.ts";
import { broadcastTo, mul, reduceSum, reshape, scatterAddRows } from "../../tensor/ops/index.ts";

/** Outputs of a block with experts, [experts], both summed over its tokens. */
export const routingOutputs = { choices: "routing.choices", probabilities: "routing.probabilities" } as const;

/** Makes the sums. Reads tokenWeights [B, T]: 1, or 0 for padding. */
export const routingSums: ModelHooks = {
  routed({ probabilities, chosen, tokens }, { graph }) {
    const [rows, experts] = [chosen.shape[0]!, probabilities.shape[1]!];
    const weights = reshape(graph.input("tokenWeights", { dtype: "float32", shape: [...tokens] }), [rows, 1]);
    graph.output(routingOutputs.choices, scatterAddRows(chosen, broadcastTo(weights, chosen.shape), experts));
    graph.output(routingOutputs.probabilities, reduceSum(mul(probabilities, weights), [0]));
  },
};

export interface RouterBalance {
  readonly loss: number;
  /** Of the loss by a block's sums of probabilities, [experts]: the same for every block. */
  readonly gradient: Float32Array;
}

/** @param sums of all blocks together, [experts] */
export function routerBalance(
  sums: Readonly<Record<keyof typeof routingOutputs, Float32Array>>,
  { numExperts, expertsPerToken }: Routing,
): RouterBalance {
  const tokens = sums.choices.reduce((sum, choices) => sum + choices, 0) / expertsPerToken;
  const gradient = sums.choices.map((choices) => (numExperts * choices) / tokens ** 2);
  return { loss: gradient.reduce((sum, share, e) => sum + share * sums.probabilities[e]!, 0), gradient };
}
