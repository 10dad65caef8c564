/** Cases for every operation. Named sizes: n = 5, m = 3, empty = 0. */
import type { Value } from "../../src/tensor/graph.ts";
import * as f from "../../src/tensor/ops/index.ts";
import type { ops } from "../../src/tensor/ops/registry.ts";
import { addDims, dim, multiplyDims, type Shape } from "../../src/tensor/shape.ts";
import type { InputOptions, OpCase } from "./op-case.ts";

export const sizes = { n: 5, m: 3, empty: 0 };
const [n, m, empty] = [dim("n"), dim("m"), dim("empty")];

type Build = (c: OpCase) => Value | readonly Value[];
type Cases = Readonly<Record<string, Build>>;

const unary = (op: (x: Value) => Value, options: InputOptions = {}): Cases => ({
  "fixed sizes": (c) => op(c.input([2, 3], options)),
  "a scalar": (c) => op(c.input([], options)),
  "named sizes": (c) => op(c.input([n, 4, m], options)),
  "no elements": (c) => op(c.input([empty, 2], options)),
});
const binary = (op: (a: Value, b: Value) => Value, options: InputOptions = {}): Cases => ({
  "equal shapes": (c) => op(c.input([n, 3], options), c.input([n, 3], options)),
  broadcasting: (c) => op(c.input([n, 1, 4], options), c.input([m, 1], options)),
  "a scalar": (c) => op(c.input([2, m], options), c.input([], options)),
});
const positive = { low: 0.25, high: 3 };
const integers = { dtype: "int64", low: 0, high: 3 } as const;
const bools = { dtype: "bool", low: 0, high: 2 } as const;
const withIntegers = (op: (a: Value, b: Value) => Value): Cases => ({
  ...binary(op),
  integers: (c) => op(c.input([n, 1], integers), c.input([m], integers)),
});

const reductions = (op: typeof f.reduceSum): Cases => ({
  "last axis": (c) => op(c.input([n, 3, 4]), [-1]),
  "first axis, kept": (c) => op(c.input([n, 3, 4]), [0], { keepDims: true }),
  "several axes": (c) => op(c.input([2, n, m]), [0, 2]),
  "all axes": (c) => op(c.input([n, m]), [0, 1]),
});
const codes = { dtype: "int8", low: -127, high: 128 } as const;
/** All results of the node behind a value. */
const all = (value: Value): readonly Value[] => value.producer!.outputs;
const nf4 = (c: OpCase, { shape, blockSize, spare = 0 }: { shape: readonly number[]; blockSize: number; spare?: number }): Value => {
  const blocks = Math.ceil(shape.reduce((product, size) => product * size, 1) / blockSize);
  const codes = c.input([(blocks * blockSize) / 2], { dtype: "uint8", low: 0, high: 256 });
  return f.dequantizeNf4(codes, c.input([blocks + spare], positive), { shape, blockSize });
};
const rotaryInputs = (c: OpCase, shape: Shape) =>
  [c.input(shape), c.input(shape.slice(0, 2), { dtype: "int64", low: 0, high: 8 }), c.input([8, 4]), c.input([8, 4])] as const;

export const opCases: Readonly<Record<(typeof ops)[number]["name"], Cases>> = {
  add: withIntegers(f.add),
  sub: withIntegers(f.sub),
  mul: withIntegers(f.mul),
  div: binary(f.div, positive),
  maximum: binary(f.maximum),
  neg: unary(f.neg),
  exp: unary(f.exp),
  log: unary(f.log, positive),
  sqrt: unary(f.sqrt, positive),
  reciprocal: unary(f.reciprocal, positive),
  tanh: unary(f.tanh),
  sigmoid: unary(f.sigmoid, { low: -9, high: 9 }),
  erf: unary(f.erf),
  relu: unary(f.relu),
  silu: unary(f.silu, { low: -9, high: 9 }),
  gelu: unary((x) => f.gelu(x, { approximate: "none" }), { low: -5, high: 5 }),
  geluTanh: unary((x) => f.gelu(x, { approximate: "tanh" }), { low: -5, high: 5 }),
  stopGradient: {
    ...unary(f.stopGradient),
    "bfloat16 bits": (c) => f.cast(f.stopGradient(c.input([n], { dtype: "bfloat16" })), "float32"),
  },
  equal: binary(f.equal, integers),
  greaterOrEqual: withIntegers(f.greaterOrEqual),
  less: withIntegers(f.less),
  logicalAnd: binary(f.logicalAnd, bools),
  logicalOr: binary(f.logicalOr, bools),
  where: {
    broadcasting: (c) => f.where(c.input([n, 1], bools), c.input([m]), c.input([n, m])),
    "a scalar": (c) => f.where(c.input([n, m], bools), c.input([n, m]), f.constant(c.graph, -1e9)),
    "minus infinity": (c) => f.where(c.input([n, m], bools), c.input([n, m]), f.constant(c.graph, Number.NEGATIVE_INFINITY)),
  },
  constant: {
    returned: (c) => [
      f.constant(c.graph, 0.1),
      f.constant(c.graph, -3, "int64"),
      f.constant(c.graph, 1, "bool"),
      f.constant(c.graph, -2, "int32"),
    ],
    "used twice": (c) => [f.add(c.input([n]), 2), f.constant(c.graph, 2)],
    halves: (c) => [f.cast(f.constant(c.graph, 0.5, "float16"), "float32"), f.cast(f.constant(c.graph, -1.5, "bfloat16"), "float32")],
  },
  range: {
    "fixed size": (c) => f.range(c.graph, 5),
    "named size": (c) => [c.input([n, m]), f.range(c.graph, addDims(n, m))],
    nothing: (c) => [c.input([empty]), f.range(c.graph, empty)],
  },
  zeros: {
    "fixed sizes": (c) => [f.zeros(c.graph, [2, 3]), f.zeros(c.graph, [2], "int64"), f.zeros(c.graph, [], "bool")],
    "named sizes": (c) => [c.input([multiplyDims(2, n), m]), f.zeros(c.graph, [addDims(n, 1), multiplyDims(n, m, 2)])],
    "no elements": (c) => [c.input([empty]), f.zeros(c.graph, [2, empty])],
    halves: (c) => [f.cast(f.zeros(c.graph, [2, 2], "float16"), "float32"), f.cast(f.zeros(c.graph, [2, 2], "bfloat16"), "float32")],
  },
  cast: {
    "float16 to float32": (c) => f.cast(c.input([n, 4], { dtype: "float16" }), "float32"),
    "bfloat16 to float32": (c) => f.cast(c.input([n, 4], { dtype: "bfloat16" }), "float32"),
    "bfloat16 and back": (c) =>
      f.cast(f.cast(c.input([n, 4], { values: Array.from({ length: 20 }, (_, i) => i / 4 - 2) }), "bfloat16"), "float32"),
    "float16 and back": (c) =>
      f.cast(f.cast(c.input([n, 4], { values: Array.from({ length: 20 }, (_, i) => i / 4 - 2) }), "float16"), "float32"),
    "bfloat16 to float16": (c) => f.cast(f.cast(c.input([n], { dtype: "bfloat16" }), "float16"), "float32"),
    "int64 to float32": (c) => f.cast(c.input([n], integers), "float32"),
    "int8 to float32": (c) => f.cast(c.input([n], { dtype: "int8", low: -128, high: 128 }), "float32"),
    "uint8 to int64": (c) => f.cast(c.input([n], { dtype: "uint8", low: 0, high: 256 }), "int64"),
    "bool to float32": (c) => f.cast(c.input([n], bools), "float32"),
    "float32 to int64": (c) => f.cast(c.input([3], { values: [-2, 0, 7] }), "int64"),
    "int32 to int64": (c) => f.cast(c.input([n], { dtype: "int32" }), "int64"),
  },
  randomUniform: {
    "fixed sizes": (c) => f.randomUniform(c.input([], { dtype: "int64", values: [42] }), [3, 50]),
    "named sizes, large seed": (c) =>
      f.randomUniform(c.input([], { dtype: "int64", values: [2 ** 40 + 7] }), [c.input([n, m]).shape[0]!, multiplyDims(n, m), 2]),
    "negative seed": (c) => f.randomUniform(c.input([], { dtype: "int64", values: [-5] }), [7]),
  },
  matmul: {
    plain: (c) => f.matmul(c.input([n, 4]), c.input([4, m])),
    "left transposed": (c) => f.matmul(c.input([4, n]), c.input([4, m]), { transposeA: true }),
    "right transposed, scaled": (c) => f.matmul(c.input([2, n, 4]), c.input([m, 4]), { transposeB: true, alpha: 0.5 }),
    "both transposed": (c) => f.matmul(c.input([4, n]), c.input([m, 4]), { transposeA: true, transposeB: true }),
    batched: (c) => f.matmul(c.input([2, m, n, 4]), c.input([2, m, 4, n])),
    "batched, both transposed": (c) =>
      f.matmul(c.input([2, m, 4, n]), c.input([2, m, 6, 4]), { transposeA: true, transposeB: true, alpha: -2 }),
    "batches broadcast": (c) => f.matmul(c.input([2, 1, n, 4]), c.input([m, 4, 2])),
    "batches broadcast, transposed": (c) => f.matmul(c.input([2, 1, n, 4]), c.input([m, 2, 4]), { transposeB: true }),
    "no rows": (c) => f.matmul(c.input([empty, 4]), c.input([4, 3])),
    "nothing to sum": (c) => f.matmul(c.input([empty, n]), c.input([empty, 3]), { transposeA: true }),
    "bfloat16 weights": (c) => f.matmul(c.input([n, 4]), f.cast(c.input([6, 4], { dtype: "bfloat16" }), "float32"), { transposeB: true }),
  },
  reduceSum: { ...reductions(f.reduceSum), "no elements": (c) => f.reduceSum(c.input([empty, 2]), [0]) },
  reduceMean: reductions(f.reduceMean),
  reduceMax: { ...reductions(f.reduceMax), "no rows": (c) => f.reduceMax(c.input([empty, 4]), [1]) },
  softmax: {
    "named sizes": (c) => f.softmax(c.input([n, 2, m], { low: -30, high: 30 })),
    "large numbers": (c) => f.softmax(c.input([2, 9], { low: 500, high: 520 })),
  },
  projectedLogSumExp: {
    "named sizes": (c) => all(f.projectedLogSumExp(c.input([n, 3]), c.input([m, 3])).logSumExp),
    "a table of codes": (c) =>
      all(f.projectedLogSumExp(c.input([n, 12]), c.input([7, 12], codes), { scales: c.input([7], { low: 0.001, high: 0.02 }) }).logSumExp),
    "a table of codes, bent": (c) =>
      all(
        f.projectedLogSumExp(c.input([n, 12]), c.input([7, 12], codes), { softCap: 3, scales: c.input([7], { low: 0.001, high: 0.02 }) })
          .logSumExp,
      ),
    "the sum alone": (c) => f.projectedLogSumExp(c.input([n, 3]), c.input([7, 3])).logSumExp,
    "large scores": (c) => f.projectedLogSumExp(c.input([2, 1], { low: 20, high: 30 }), c.input([9, 1], { low: 20, high: 30 })).logSumExp,
  },
  logSumExp: {
    "named sizes": (c) => f.logSumExp(c.input([n, 2, m], { low: -30, high: 30 })),
    "large numbers": (c) => f.logSumExp(c.input([2, 9], { low: 500, high: 520 })),
    "a wide row": (c) => f.logSumExp(c.input([n, 3000])),
    "minus infinity": (c) => f.logSumExp(c.input([1, 3], { values: [Number.NEGATIVE_INFINITY, 1, 2] })),
    "no rows": (c) => f.logSumExp(c.input([empty, 4])),
  },
  rmsNorm: {
    "both results": (c) => all(f.rmsNorm(c.input([n, m, 8]), c.input([8]), { epsilon: 1e-5 })),
    "one result": (c) => f.rmsNorm(c.input([2, 16], { low: -1e-3, high: 1e-3 }), c.input([16]), { epsilon: 1e-5 }),
  },
  layerNorm: {
    "all results": (c) => all(f.layerNorm(c.input([n, m, 8]), c.input([8]), c.input([8]), { epsilon: 1e-5 })),
    "one result": (c) => f.layerNorm(c.input([2, 16]), c.input([16]), c.input([16]), { epsilon: 1e-3 }),
  },
  rotaryEmbedding: {
    "several heads": (c) => f.rotaryEmbedding(...rotaryInputs(c, [n, m, 24]), { numHeads: 3 }),
    "turned back by the negated sine": (c) => {
      const [x, positions, cos, sin] = rotaryInputs(c, [n, m, 24]);
      return f.rotaryEmbedding(f.rotaryEmbedding(x, positions, cos, sin, { numHeads: 3 }), positions, cos, f.neg(sin), { numHeads: 3 });
    },
    "one head": (c) => f.rotaryEmbedding(...rotaryInputs(c, [1, n, 8]), { numHeads: 1 }),
    "one token": (c) => f.rotaryEmbedding(...rotaryInputs(c, [n, 1, 16]), { numHeads: 2 }),
  },
  reshape: {
    "fixed sizes": (c) => f.reshape(c.input([2, 6]), [3, 4]),
    "join named": (c) => f.reshape(c.input([n, m, 4]), [multiplyDims(n, m), 4]),
    "part named": (c) => [c.input([n, m]), f.reshape(c.input([multiplyDims(n, m), 4]), [n, m, 4])],
    "split heads": (c) => f.reshape(c.input([n, m, 8]), [n, m, 2, 4]),
    "swap named": (c) => f.reshape(c.input([n, m, 2]), [m, 2, n]),
    "part an empty size": (c) => [c.input([n]), c.input([empty]), f.reshape(c.input([multiplyDims(n, empty), 4]), [n, empty, 4])],
    "join an empty size": (c) => f.reshape(c.input([n, empty, 4]), [multiplyDims(n, empty), 4]),
    "to a scalar": (c) => f.reshape(c.input([1, 1]), []),
    "from a scalar": (c) => f.reshape(c.input([]), [1, 1]),
  },
  transpose: {
    matrix: (c) => f.transpose(c.input([n, m]), [1, 0]),
    heads: (c) => f.transpose(c.input([2, n, 3, 4]), [0, 2, 1, 3]),
    "bfloat16 bits": (c) => f.cast(f.transpose(c.input([n, m], { dtype: "bfloat16" }), [1, 0]), "float32"),
  },
  concat: {
    "named sizes": (c) => f.concat([c.input([2, n]), c.input([2, m]), c.input([2, 1])], 1),
    "an empty part": (c) => f.concat([c.input([2, empty, 3]), c.input([2, n, 3])], -2),
    "bfloat16 bits": (c) => f.cast(f.concat([c.input([n], { dtype: "bfloat16" }), c.input([m], { dtype: "bfloat16" })], 0), "float32"),
  },
  split: {
    "all parts": (c) => f.split(c.input([2, 6]), 1, [1, 2, 3]),
    "named parts": (c) => [c.input([n, m]), ...f.split(c.input([2, addDims(n, m), 2]), 1, [n, m])],
    "one part": (c) => f.slice(c.input([4, 9]), 1, { start: 2, size: 3 }),
    "one named part": (c) => [c.input([n, m]), f.slice(c.input([addDims(n, m, 4), 2]), 0, { start: n, size: m })],
    "an empty part": (c) => [c.input([n, empty]), ...f.split(c.input([addDims(n, empty)]), 0, [empty, n])],
    "bfloat16 bits": (c) => f.cast(f.slice(c.input([9], { dtype: "bfloat16" }), 0, { start: 2, size: 3 }), "float32"),
  },
  broadcastTo: {
    rows: (c) => [c.input([n]), f.broadcastTo(c.input([1, 4]), [n, 4])],
    "new dimensions": (c) => [c.input([n]), c.input([m]), f.broadcastTo(c.input([4]), [n, m, 4])],
    "a scalar": (c) => f.broadcastTo(c.input([]), [2, 3]),
    "float16 bits": (c) => f.cast(f.broadcastTo(c.input([1, 4], { dtype: "float16" }), [3, 4]), "float32"),
    "bfloat16 bits": (c) => f.cast(f.broadcastTo(c.input([1, 4], { dtype: "bfloat16" }), [3, 4]), "float32"),
  },
  gather: {
    rows: (c) => f.gather(c.input([7, 4]), c.input([n, m], { dtype: "int64", low: 0, high: 7 })),
    numbers: (c) => f.gather(c.input([7]), c.input([n], { dtype: "int64", low: 0, high: 7 })),
    "no rows": (c) => f.gather(c.input([7, 4]), c.input([empty], { dtype: "int64" })),
    "float16 rows": (c) =>
      f.cast(f.gather(c.input([7, 4], { dtype: "float16" }), c.input([n], { dtype: "int64", low: 0, high: 7 })), "float32"),
    "bfloat16 rows": (c) =>
      f.cast(f.gather(c.input([7, 4], { dtype: "bfloat16" }), c.input([n], { dtype: "int64", low: 0, high: 7 })), "float32"),
  },
  matmulInt8: {
    rows: (c) => f.matmulInt8(c.input([n, 12]), c.input([12, 5], codes)),
    "turned, scaled, in a batch": (c) =>
      f.matmulInt8(c.input([2, n, 12]), c.input([5, 12], codes), { transposeB: true, scales: c.input([5], positive) }),
    "the largest codes": (c) =>
      f.matmulInt8(
        c.input([2, 64], { values: Array.from({ length: 128 }, (_, i) => (i < 64 ? 1 : -1)) }),
        c.input([64, 3], { ...codes, low: 127 }),
      ),
    "a row of zeros": (c) => f.matmulInt8(c.input([2, 2], { values: [0, 0, 3, -1.5] }), c.input([2, 3], codes)),
    "a number between two codes": (c) => f.matmulInt8(c.input([1, 4], { values: [127, 0.5, 1.5, -2.5] }), c.input([4, 3], codes)),
    "no rows": (c) => f.matmulInt8(c.input([empty, 12]), c.input([12, 5], codes)),
  },
  roundRows: {
    rows: (c) => f.roundRows(c.input([2, n, 12])),
    "a row of zeros": (c) => f.roundRows(c.input([2, 2], { values: [0, 0, 3, -1.5] })),
  },
  dequantizeNf4: {
    "whole blocks": (c) => nf4(c, { shape: [6, 32], blockSize: 64 }),
    "a part of a block": (c) => nf4(c, { shape: [5, 30], blockSize: 64 }),
    "more scales than blocks": (c) => nf4(c, { shape: [6, 32], blockSize: 64, spare: 5 }),
    "large blocks": (c) => nf4(c, { shape: [16, 48], blockSize: 256 }),
    "in a product, transposed": (c) => f.matmul(c.input([2, n, 48]), nf4(c, { shape: [12, 48], blockSize: 64 }), { transposeB: true }),
    "in a product": (c) => f.matmul(c.input([n, 12]), nf4(c, { shape: [12, 48], blockSize: 64 })),
    "in two products": (c) => {
      const weight = nf4(c, { shape: [12, 48], blockSize: 64 });
      return [f.matmul(c.input([n, 48]), weight, { transposeB: true }), f.matmul(c.input([n, 12]), weight)];
    },
  },
  topK: {
    rows: (c) => f.topK(c.input([n, m, 6]), 2),
    "ties go to the first": (c) => f.topK(c.input([2, 4], { values: [1, 3, 3, 0, 2, 2, 2, 2] }), 3),
    all: (c) => f.topK(c.input([n, 4]), 4),
  },
  groupRows: {
    "some groups": (c) => Object.values(f.groupRows(c.input([n], integers), 3)),
    "a group without rows": (c) => Object.values(f.groupRows(c.input([4], { dtype: "int64", values: [2, 0, 2, 0] }), 4)),
    "no rows": (c) => Object.values(f.groupRows(c.input([empty], integers), 3)),
  },
  dealRows: {
    copies: (c) => f.dealRows(c.input([2, n]), { ...f.groupRows(c.input([4], { dtype: "int64", values: [2, 0, 2, 1] }), 3), copies: 2 }),
    numbers: (c) => f.dealRows(c.input([n]), { ...f.groupRows(c.input([n], integers), 3), copies: 1 }),
    "no rows": (c) => f.dealRows(c.input([empty, 2]), { ...f.groupRows(c.input([empty], integers), 3), copies: 1 }),
  },
  collectRows: {
    copies: (c) =>
      f.collectRows(c.input([6, m]), {
        ...f.groupRows(c.input([6], { dtype: "int64", values: [2, 0, 2, 1, 0, 1] }), 3),
        copies: 3,
        rows: 2,
      }),
    numbers: (c) => f.collectRows(c.input([n]), { ...f.groupRows(c.input([n], integers), 3), copies: 1, rows: n }),
    "no rows": (c) => f.collectRows(c.input([empty, 2]), { ...f.groupRows(c.input([empty], integers), 3), copies: 1, rows: empty }),
  },
  splitGroups: {
    "into products": (c) => {
      const { sizes } = f.groupRows(c.input([4], { dtype: "int64", values: [2, 0, 2, 0] }), 3);
      return f.splitGroups(c.input([4, 2]), sizes).map((piece) => f.matmul(piece, c.input([2, 3])));
    },
    "into gradients of weights": (c) => {
      const { sizes } = f.groupRows(c.input([4], { dtype: "int64", values: [2, 0, 2, 0] }), 3);
      return f.splitGroups(c.input([4, 2]), sizes).map((piece) => f.matmul(piece, f.silu(piece), { transposeA: true }));
    },
  },
  joinGroups: {
    "with a piece of a decided size made anew": (c) => {
      const { sizes } = f.groupRows(c.input([n], integers), 3);
      const [first, second, third] = f.splitGroups(c.input([n, 4]), sizes);
      const noise = f.zeros(c.graph, second!.shape);
      return f.joinGroups([f.silu(first!), noise, f.mul(third!, 2)], { sizes, rows: n });
    },
  },
  scatterAddRows: {
    "repeated rows": (c) => f.scatterAddRows(c.input([n, m], { dtype: "int64", low: 0, high: 4 }), c.input([n, m, 3]), 4),
    "named rows": (c) => [c.input([m]), f.scatterAddRows(c.input([n], { dtype: "int64", low: 0, high: 3 }), c.input([n, 2]), m)],
    numbers: (c) => f.scatterAddRows(c.input([n], { dtype: "int64", low: 0, high: 3 }), c.input([n]), 3),
    "no updates": (c) => f.scatterAddRows(c.input([empty], { dtype: "int64" }), c.input([empty, 2]), 3),
    // Large enough for the runtime to use threads, which must not lose updates of one row.
    "many updates of few rows": (c) =>
      f.scatterAddRows(c.input([20000], { dtype: "int64", low: 0, high: 3 }), c.input([20000, 16], { low: 1, high: 1 }), 3),
  },
};
