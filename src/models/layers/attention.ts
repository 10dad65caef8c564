/**
 * Attention over packed documents, causal or bidirectional, with grouped key-value heads (Ainslie et al. 2023, https://arxiv.org/abs/2305.13245).
 * Differs from the textbook:
 * 1. Queries are cut into chunks; a chunk sees only the keys up to its own end, so the upper triangle is mostly not computed
 *    and score matrices stay small enough for the cache.
 * 2. Query heads that share a key head broadcast against it: keys and values are never repeated, and there is a product for
 *    every query head, so that few key heads do not leave cores idle.
 * 3. Query, key and value are kept for the backward pass, and the output where heads are narrow together; scores and probabilities,
 *    and other outputs from them, are made again there.
 * 4. When decoding, earlier keys and values lie in a buffer with room for more. They are never joined with the new ones:
 *    only scores are, so that a step copies nothing that grows with the text.
 */

import type { Value } from "../../tensor/graph.ts";
import { add, concat, matmul, reshape, softmax, split, transpose } from "../../tensor/ops/index.ts";
import { addDims, type Dim, divideDims, multiplyDims } from "../../tensor/shape.ts";
import type { KeyValues, PastKeyValues } from "../model.ts";
import { softCapped } from "./soft-cap.ts";

/**
 * Outputs of this width or more are made again. It takes one product more, 1.25 T C multiplications a token where a block's linear layers
 * take about 44 C^2 (0.7% at 512 tokens and 2,048 channels), and spares a tenth of what a Llama's block keeps. In narrower models
 * the product would count for more than the memory.
 */
const leastWidthMadeAgain = 1024;

export interface AttentionInput {
  /** [B, T, numHeads * D], rotated already. */
  readonly query: Value;
  /** [B, T, numKeyValueHeads * D]; in cross-attention S tokens of the encoder. */
  readonly key: Value;
  readonly value: Value;
  readonly numHeads: number;
  readonly numKeyValueHeads: number;
  readonly headDim: number;
  /** Factor on the scores, usually 1 / sqrt(D). */
  readonly scale: number;
  /** Scores are bent to stay below this before the mask. */
  readonly softCap?: number | undefined;
  /** One additive mask for each chunk of queries: [B, 1, 1, t, keys]. */
  readonly masks: readonly Value[];
  /** A buffer only with a single chunk. */
  readonly past?: PastKeyValues | undefined;
  /** Every chunk of queries sees all keys. */
  readonly isBidirectional?: boolean | undefined;
  /** Added to the scores, one for each chunk of queries: [1, numKeyValueHeads, query heads of each, t, keys]. */
  readonly positionBias?: readonly Value[] | undefined;
}

/** @returns output [B, T, numHeads * D] and the keys and values of all tokens so far (of the new ones behind a buffer) */
export function attention(input: AttentionInput): { output: Value; present: KeyValues } {
  const { numHeads, numKeyValueHeads, headDim: D, scale, softCap, masks, past, isBidirectional, positionBias } = input;
  const [B, T] = input.query.shape as [Dim, Dim];
  const groups = numHeads / numKeyValueHeads;
  const { graph } = input.query;
  const chunks = masks.length;
  const t = divideDims(T, chunks);

  const headsFirst = (x: Value): Value => transpose(reshape(x, [B, x.shape[1]!, numKeyValueHeads, D]), [0, 2, 1, 3]); // [B, Hkv, T, D]
  // [B, Hkv, G, T, D]: query heads of one group beside each other.
  const query = graph.keep(transpose(reshape(input.query, [B, T, numKeyValueHeads, groups, D]), [0, 2, 3, 1, 4]));
  const ownKey = graph.keep(headsFirst(input.key));
  const ownValue = graph.keep(headsFirst(input.value));
  const buffer = past?.isBuffer ? past : undefined;
  const key = past && !buffer ? concat([past.key, ownKey], 2) : ownKey;
  const value = past && !buffer ? concat([past.value, ownValue], 2) : ownValue;

  const sizes = Array.from({ length: chunks }, () => t);
  const queries = split(query, 3, sizes);
  const keys = isBidirectional ? [] : split(ownKey, 2, sizes);
  const values = isBidirectional ? [] : split(ownValue, 2, sizes);
  /** Parts 0 to `last`, behind what is past. */
  const upTo = (parts: readonly Value[], last: number, before: Value | undefined): Value =>
    concat([...(before ? [before] : []), ...parts.slice(0, last + 1)], 2);
  const forGroup = (x: Value): Value => reshape(x, [B, numKeyValueHeads, 1, x.shape[2]!, D]);
  const outputs = queries.map((q, i) => {
    const seesAll = isBidirectional || i + 1 === chunks;
    const k = seesAll ? key : upTo(keys, i, past?.key);
    const v = seesAll ? value : upTo(values, i, past?.value);
    const own = matmul(q, forGroup(k), { transposeB: true, alpha: scale }); // [B, Hkv, G, t, keys]
    const scores = buffer ? concat([matmul(q, forGroup(buffer.key), { transposeB: true, alpha: scale }), own], 4) : own;
    const bent = softCapped(scores, softCap);
    const biased = positionBias ? add(bent, positionBias[i]!) : bent;
    const probabilities = softmax(add(biased, masks[i]!));
    if (!buffer) return matmul(probabilities, forGroup(v)); // [B, Hkv, G, t, D]
    const [toBuffer, toOwn] = split(probabilities, 4, [buffer.key.shape[2]!, t]) as [Value, Value];
    return add(matmul(toBuffer, forGroup(buffer.value)), matmul(toOwn, forGroup(v)));
  });
  const joined = chunks === 1 ? outputs[0]! : concat(outputs, 3); // [B, Hkv, G, T, D]
  const output = reshape(transpose(joined, [0, 3, 1, 2, 4]), [B, T, numHeads * D]);
  return { output: numHeads * D < leastWidthMadeAgain ? graph.keep(output) : output, present: { key, value } };
}

export interface KeysSeen {
  readonly tokens: Dim;
  readonly chunks: number;
  readonly chunk: number;
  readonly past?: Dim;
  readonly isBidirectional?: boolean | undefined;
}

/** Keys that one of `chunks` equal chunks of T queries sees. */
export const keysSeen = ({ tokens, chunks, chunk, past = 0, isBidirectional = false }: KeysSeen): Dim =>
  addDims(past, isBidirectional ? tokens : multiplyDims(chunk + 1, divideDims(tokens, chunks)));
