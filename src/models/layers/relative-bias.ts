/**
 * Relative position bias: a learned number for each head and each bucket of distances, added to attention scores.
 * Raffel et al. 2019, section 2.1, https://arxiv.org/abs/1910.10683; buckets as in transformers' T5.
 * It is made once a pass, for all blocks of a stack.
 * Differs in how it is laid out: documents are contiguous, so distances of positions are distances in the row, and one bias
 * for each distance is looked up and spread along the diagonals by reshaping. A look-up for each pair of tokens would cost a
 * scatter of T * S rows in the backward pass.
 */
import type { Value } from "../../tensor/graph.ts";
import { broadcastTo, gather, reshape, slice, transpose } from "../../tensor/ops/index.ts";
import { addDims, type Dim, divideDims, multiplyDims, type Shape, subtractDims } from "../../tensor/shape.ts";
import type { Stack } from "../model.ts";
import type { SegmentBuilder } from "../segment-builder.ts";
import { keysSeen } from "./attention.ts";

export interface BucketRule {
  readonly numBuckets: number;
  /** Greater distances share the last bucket. */
  readonly maxDistance: number;
  readonly isBidirectional: boolean;
}

/** The bucket of a key's position minus the query's: near distances have one each, far ones share them on a logarithmic scale. */
export function relativeBucket(distance: number, { numBuckets, maxDistance, isBidirectional }: BucketRule): number {
  const side = isBidirectional ? numBuckets / 2 : numBuckets;
  const offset = isBidirectional && distance > 0 ? side : 0;
  const away = isBidirectional ? Math.abs(distance) : Math.max(0, -distance);
  const exact = Math.floor(side / 2);
  if (away < exact) return offset + away;
  // Rounded to float32 at each step, as the reference does: at whole powers the floor depends on it.
  const f = Math.fround;
  const grown = f(f(f(Math.log(f(away / exact))) / f(Math.log(maxDistance / exact))) * (side - exact));
  return offset + Math.min(side - 1, exact + Math.floor(grown));
}

/** Buckets of all distances that occur between T queries and the S keys up to the last of them, from -(S - 1) to T - 1, and one more to fill up. */
export const distanceBuckets = ({ queries, keys }: { queries: number; keys: number }, bucketOf: (distance: number) => number): Int32Array =>
  Int32Array.from({ length: queries + keys }, (_, i) => bucketOf(Math.min(i, queries + keys - 2) - (keys - 1)));

export interface RelativeBiasInput {
  /** [numBuckets, H]. */
  readonly table: Value;
  /** int64 [T + S], as `distanceBuckets` gives them. */
  readonly buckets: Value;
  /** T. */
  readonly queries: Dim;
  /** S. */
  readonly keys: Dim;
}

/** @returns [H, T, S] */
export function relativeBias({ table, buckets, queries: T, keys: S }: RelativeBiasInput): Value {
  const H = table.shape[1]!;
  const width = addDims(T, S);
  const shorter = subtractDims(width, 1);
  const byDistance = transpose(gather(table, buckets), [1, 0]); // [H, T + S]
  const repeated = broadcastTo(reshape(byDistance, [H, 1, width]), [H, T, width]);
  // Rows of one less than the period: each begins one distance earlier than the row above.
  const flat = slice(reshape(repeated, [H, multiplyDims(T, width)]), 1, { start: 0, size: multiplyDims(T, shorter) });
  return slice(reshape(flat, [H, T, shorter]), 2, { start: subtractDims(T, 1), size: S });
}

export interface PositionBiasInput {
  readonly stack: Stack;
  readonly chunks: number;
  /** T. */
  readonly queries: Dim;
  /** S. */
  readonly keys: Dim;
  /** int64 [T + S], as `distanceBuckets` gives them. */
  readonly distanceBuckets: Value;
}

/** [1, numKeyValueHeads, query heads of each, t, keys]. */
export const positionBiasShape = (
  { numKeyValueHeads, numAttentionHeads }: Pick<Stack, "numKeyValueHeads" | "numAttentionHeads">,
  [t, keys]: readonly [Dim, Dim],
): Shape => [1, numKeyValueHeads, numAttentionHeads / numKeyValueHeads, t, keys];

/** The relative bias of a stack that has one, for each chunk of queries and the keys up to its end. */
export function positionBias(build: SegmentBuilder, { stack, chunks, queries, keys, distanceBuckets }: PositionBiasInput): Value[] {
  const { isBidirectional } = stack.maskKind(0);
  const whole = relativeBias({ table: build.parameter(stack.relativeBias!.table), buckets: distanceBuckets, queries, keys });
  const t = divideDims(queries, chunks);
  return Array.from({ length: chunks }, (_, chunk) => {
    const seen = keysSeen({ tokens: queries, chunks, chunk, past: subtractDims(keys, queries), isBidirectional });
    const rows = slice(whole, 1, { start: multiplyDims(chunk, t), size: t });
    return reshape(slice(rows, 2, { start: 0, size: seen }), positionBiasShape(stack, [t, seen]));
  });
}
