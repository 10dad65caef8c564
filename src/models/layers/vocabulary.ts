/** Logits over a whole vocabulary, and what cross-entropy needs of them. */

import type { Value } from "../../tensor/graph.ts";
import { add, concat, logSumExp, matmul, projectedLogSumExp, reduceMax, reshape, stopGradient } from "../../tensor/ops/index.ts";
import { sizeOf } from "../../tensor/shape.ts";
import type { HeadOutput } from "../model.ts";
import type { ParameterSpec, SegmentBuilder, TablePiece } from "../segment-builder.ts";
import { softCapped } from "./soft-cap.ts";

/** Rows of a vocabulary matrix that are taken at once: 512 rows of logits are 8 MB, and the products still run at full speed. */
const pieceRows = 4096;

/** [N, V]. */
export function logitsOf({ features, vocabulary, bias, softCap }: HeadOutput, build: SegmentBuilder): Value {
  const logits = build.product(features, vocabulary);
  return softCapped(bias ? add(logits, biasOf(bias, build)) : logits, softCap);
}

/** [V]. */
export const biasOf = (bias: ParameterSpec, build: SegmentBuilder): Value => {
  const value = build.parameter(bias);
  return reshape(value, [sizeOf(value.shape)]);
};

export interface VocabularySums {
  /** Log of the sum of exp(logits), [N]. */
  readonly normaliser: Value;
  /** Largest logit, [N]; gets no gradient. */
  readonly largest: Value;
}

/**
 * The matrix is taken piece by piece, for the log-sum-exp of all is that of the pieces. Where it is frozen the logits of a piece are gone
 * before the next; where it is trained its gradient needs the probabilities again, and comes in such pieces, too.
 */
export function sumOverVocabulary(head: HeadOutput, build: SegmentBuilder, most = pieceRows): VocabularySums {
  const { features, vocabulary, bias, softCap } = head;
  // Heads with a bias stand on encoders, which predict few tokens of a text; their logits are small as a whole.
  const pieces = bias ? undefined : build.tablePieces(vocabulary, most);
  if (!pieces) {
    const { logSumExp, largest } = sumsOf(logitsOf(head, build));
    return { normaliser: logSumExp, largest };
  }
  const sums = pieces.map(({ storage, stored, shape, isFrozen }: TablePiece) => {
    if (!isFrozen) return sumsOf(softCapped(matmul(features, storage.decode(stored, shape), { transposeB: true }), softCap));
    return (
      storage.vocabulary?.sums(features, stored, { softCap }) ?? projectedLogSumExp(features, storage.decode(stored, shape), { softCap })
    );
  });
  const columns = (values: readonly Value[]): Value =>
    concat(
      values.map((value) => reshape(value, [...value.shape, 1])),
      1,
    ); // [N, pieces]
  return {
    normaliser: logSumExp(columns(sums.map((sum) => sum.logSumExp))),
    largest: stopGradient(reduceMax(columns(sums.map(({ largest }) => largest)), [-1])),
  };
}

const sumsOf = (logits: Value) => ({ logSumExp: logSumExp(logits), largest: stopGradient(reduceMax(logits, [-1])) });
