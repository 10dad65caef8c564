/** The operations as functions on values. */
export { broadcastTo } from "./broadcast-to.ts";
export { cast } from "./cast.ts";
export { equal, greaterOrEqual, less, logicalAnd, logicalOr } from "./comparison.ts";
export { concat, slice, split } from "./concat.ts";
export { constant, zeros } from "./constant.ts";
export { add, div, maximum, mul, sub } from "./elementwise-binary.ts";
export { erf, exp, gelu, log, neg, reciprocal, relu, sigmoid, silu, sqrt, stopGradient, tanh } from "./elementwise-unary.ts";
export { gather, scatterAddRows } from "./gather.ts";
export { matmul } from "./matmul.ts";
export { layerNorm, rmsNorm } from "./normalisation.ts";
export { randomUniform } from "./random-uniform.ts";
export { range } from "./range.ts";
export { reduceMax, reduceMean, reduceSum } from "./reductions.ts";
export { reshape } from "./reshape.ts";
export { rotaryEmbedding } from "./rotary-embedding.ts";
export { logSumExp, softmax } from "./softmax.ts";
export { transpose } from "./transpose.ts";
export { where } from "./where.ts";
