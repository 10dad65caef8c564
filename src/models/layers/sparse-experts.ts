/**
 * A mixture of experts: a router gives every token to a few of many MLPs and mixes what they make of it. Shazeer et al. 2017,
 * https://arxiv.org/abs/1701.06538. An expert multiplies its own tokens only, so the work grows with the experts a token has and
 * not with those there are.
 */
import { CheckpointError } from "../../base/errors.ts";
import type { Value } from "../../tensor/graph.ts";
import {
  add,
  broadcastTo,
  collectRows,
  dealRows,
  div,
  gather,
  groupRows,
  joinGroups,
  mul,
  range,
  reduceSum,
  reshape,
  softmax,
  splitGroups,
  topK,
} from "../../tensor/ops/index.ts";
import type { RowOrder } from "../../tensor/ops/row-groups.ts";
import { type Dim, multiplyDims } from "../../tensor/shape.ts";
import type { ConfigReader } from "../config-reader.ts";
import type { Routing } from "../model.ts";
import type { BareWeight, SegmentBuilder } from "../segment-builder.ts";
import type { Activation } from "./activations.ts";

export interface SparseExpertsOptions {
  readonly hiddenSize: number;
  /** Of one expert. */
  readonly intermediateSize: number;
  readonly numExperts: number;
  readonly expertsPerToken: number;
  /** The shares of a token's experts are made to add up to one. */
  readonly normalisesShares: boolean;
  readonly activation: Activation;
  /** Module name of the router, with a weight [experts, C]. */
  readonly router: string;
  /** Module of router and experts in transformers 5, which holds the experts' weights in two parameters: `mlp`. */
  readonly moduleInMemory: string;
  /** Module names of one expert's gate, up and down. */
  expert(index: number): readonly [string, string, string];
}

/** The part of config.json on what keeps a router's choices even, which the families with experts write alike. */
export function readRouting(
  config: ConfigReader,
  { numExperts, expertsPerToken }: Pick<SparseExpertsOptions, "numExperts" | "expertsPerToken">,
): Routing {
  const auxLossCoef = config.number("router_aux_loss_coef", 0.001);
  if (auxLossCoef < 0) throw new CheckpointError(`config.json: router_aux_loss_coef is ${auxLossCoef}; expected 0 or more.`);
  return {
    ...{ numExperts, expertsPerToken, auxLossCoef },
    hasAuxLoss: config.boolean("output_router_logits", false),
  };
}

/** @throws CheckpointError if a token has more experts than there are */
export function sparseExperts(options: SparseExpertsOptions): (build: SegmentBuilder, x: Value) => Value {
  const { hiddenSize: C, intermediateSize: I, numExperts, expertsPerToken } = options;
  if (expertsPerToken > numExperts)
    throw new CheckpointError(`config.json: num_experts_per_tok is ${expertsPerToken}; there are ${numExperts} experts.`);
  const names = Array.from({ length: numExperts }, (_, index) => options.expert(index));
  const bare = (index: number, part: 0 | 1 | 2): BareWeight => ({
    parameter: `${options.moduleInMemory}.experts.${part === 2 ? "down_proj" : "gate_up_proj"}`,
    expert: { index, count: numExperts, ...(part === 2 ? { part: 0, parts: 1 } : { part, parts: 2 }) },
  });

  /** [B, T, C] -> [B, T, C] */
  return (build, x) => {
    const tokens = multiplyDims(x.shape[0]!, x.shape[1]!);
    const rows = reshape(x, [tokens, C]);
    const { shares, sizes, dealt } = route(build, rows, { ...options, tokens: [x.shape[0]!, x.shape[1]!] });
    const linears = (pieces: readonly Value[], part: 0 | 1 | 2): Value => {
      const outFeatures = part === 2 ? C : I;
      const made = pieces.map((input, e) => build.linear({ name: names[e]![part], input, outFeatures, bare: bare(e, part) }));
      return joinGroups(made, { sizes, rows: multiplyDims(tokens, expertsPerToken) });
    };
    const given = splitGroups(dealRows(rows, dealt), sizes);
    const [gate, up] = [build.graph.keep(linears(given, 0)), build.graph.keep(linears(given, 1))];
    // Shares are multiplied in before the last product, which is linear: their gradient then needs no product of its own.
    const inner = mul(mul(options.activation(gate), up), reshape(shares, [...shares.shape, 1]));
    return reshape(collectRows(linears(splitGroups(inner, sizes), 2), { ...dealt, rows: tokens }), x.shape);
  };
}

interface Routes {
  /** Every token once for each of its experts, by expert. */
  readonly dealt: RowOrder & { readonly copies: number };
  /** How much of that expert's output the token takes, [tokens * expertsPerToken]. */
  readonly shares: Value;
  /** Tokens of every expert, int64 [experts]. */
  readonly sizes: Value;
}

interface RouteOptions extends SparseExpertsOptions {
  /** B and T, whose product the rows are. */
  readonly tokens: readonly [Dim, Dim];
}

function route(build: SegmentBuilder, rows: Value, { numExperts: E, expertsPerToken: k, ...options }: RouteOptions): Routes {
  const { graph } = build;
  const tokens = rows.shape[0]!;
  const pairs = multiplyDims(tokens, k);
  const bare = { parameter: `${options.moduleInMemory}.gate.weight` };
  const logits = graph.keep(build.linear({ name: options.router, input: rows, outFeatures: E, bare }));
  const probabilities = softmax(logits);
  const top = topK(logits, k);
  build.routed({ probabilities, chosen: top, tokens: options.tokens });
  const chosen = reshape(top, [pairs]);
  const { sizes, ...inOrder } = groupRows(chosen, E);
  const tokenOfPair = reshape(broadcastTo(reshape(range(graph, tokens), [tokens, 1]), [tokens, k]), [pairs]);
  const flat = reshape(probabilities, [multiplyDims(tokens, E)]);
  const taken = reshape(gather(flat, add(mul(tokenOfPair, E), chosen)), [tokens, k]);
  const shares = options.normalisesShares ? div(taken, reduceSum(taken, [-1], { keepDims: true })) : taken;
  return { dealt: { ...inOrder, copies: k }, shares: dealRows(reshape(shares, [pairs]), { ...inOrder, copies: 1 }), sizes };
}
