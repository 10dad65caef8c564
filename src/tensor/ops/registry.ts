/** Every primitive operation. */
import { broadcastToOp } from "./broadcast-to.ts";
import { castOp } from "./cast.ts";
import { equalOp, greaterOrEqualOp, lessOp, logicalAndOp, logicalOrOp } from "./comparison.ts";
import { concatOp, splitOp } from "./concat.ts";
import { constantOp, zerosOp } from "./constant.ts";
import { dequantizeNf4Op } from "./dequantize-nf4.ts";
import { addOp, divOp, maximumOp, mulOp, subOp } from "./elementwise-binary.ts";
import {
  erfOp,
  expOp,
  geluOp,
  geluTanhOp,
  logOp,
  negOp,
  reciprocalOp,
  reluOp,
  sigmoidOp,
  siluOp,
  sqrtOp,
  stopGradientOp,
  tanhOp,
} from "./elementwise-unary.ts";
import { gatherOp, scatterAddRowsOp } from "./gather.ts";
import { matmulOp } from "./matmul.ts";
import { matmulInt8Op, roundRowsOp } from "./matmul-int8.ts";
import { layerNormOp, rmsNormOp } from "./normalisation.ts";
import { projectedLogSumExpOp } from "./projected-log-sum-exp.ts";
import { randomUniformOp } from "./random-uniform.ts";
import { rangeOp } from "./range.ts";
import { reduceMaxOp, reduceMeanOp, reduceSumOp } from "./reductions.ts";
import { reshapeOp } from "./reshape.ts";
import { rotaryEmbeddingOp } from "./rotary-embedding.ts";
import { collectRowsOp, dealRowsOp, groupRowsOp, joinGroupsOp, splitGroupsOp } from "./row-groups.ts";
import { logSumExpOp, softmaxOp } from "./softmax.ts";
import { topKOp } from "./top-k.ts";
import { transposeOp } from "./transpose.ts";
import { whereOp } from "./where.ts";

export const ops = [
  ...[addOp, subOp, mulOp, divOp, maximumOp],
  ...[negOp, expOp, logOp, sqrtOp, reciprocalOp, tanhOp, sigmoidOp, erfOp, reluOp, siluOp, geluOp, geluTanhOp, stopGradientOp],
  ...[equalOp, greaterOrEqualOp, lessOp, logicalAndOp, logicalOrOp, whereOp],
  ...[constantOp, zerosOp, rangeOp, castOp, randomUniformOp],
  ...[matmulOp, matmulInt8Op, roundRowsOp, reduceSumOp, reduceMeanOp, reduceMaxOp, softmaxOp, logSumExpOp, projectedLogSumExpOp],
  ...[rmsNormOp, layerNormOp, rotaryEmbeddingOp],
  ...[reshapeOp, transposeOp, concatOp, splitOp, broadcastToOp, gatherOp, scatterAddRowsOp, dequantizeNf4Op],
  ...[topKOp, groupRowsOp, dealRowsOp, collectRowsOp, splitGroupsOp, joinGroupsOp],
] as const;
