/** For every operation with a gradient, small graphs over sizes that the property test draws. */
import type { Value } from "../../src/tensor/graph.ts";
import * as f from "../../src/tensor/ops/index.ts";
import { addDims, type Dim, multiplyDims } from "../../src/tensor/shape.ts";
import type { CheckOptions, GradientCase, OperandOptions } from "./check-gradient.ts";

/** n, m and k are numbers or names, and may be 0 or 1; `width` is a number from 1. */
export interface Sizes {
  readonly n: Dim;
  readonly m: Dim;
  readonly k: Dim;
  readonly width: number;
}
type Build = (c: GradientCase, sizes: Sizes) => Value | readonly Value[];
export interface OpGradient extends CheckOptions {
  readonly cases: Readonly<Record<string, Build>>;
  /** The rule needs numbers where other operations take names. */
  readonly numbersOnly?: boolean;
}

const unary = (op: (x: Value) => Value, options: OperandOptions = {}): OpGradient => ({
  cases: { matrix: (c, { n, m }) => op(c.operand([n, m], options)), "a scalar": (c) => op(c.operand([], options)) },
});
const binary = (op: (a: Value, b: Value) => Value, right: OperandOptions = {}): OpGradient => ({
  cases: {
    "equal shapes": (c, { n, m }) => op(c.operand([n, m]), c.operand([n, m], right)),
    "both broadcast": (c, { n, m, k }) => op(c.operand([n, 1, k]), c.operand([m, 1], right)),
    "right gains dimensions": (c, { n, m, k }) => op(c.operand([n, m, k]), c.operand([k], right)),
    "left is a scalar": (c, { n, m }) => op(c.operand([]), c.operand([n, m], right)),
    "one operand twice": (c, { n }) => {
      const x = c.operand([n], right);
      return op(x, x);
    },
  },
});
const reductions = (op: typeof f.reduceSum): OpGradient => ({
  cases: {
    "last axis": (c, { n, width }) => op(c.operand([n, width]), [-1]),
    "first axis, kept": (c, { m, width }) => op(c.operand([width, m]), [0], { keepDims: true }),
    "two axes": (c, { n, width }) => op(c.operand([width, n, 2]), [0, 2]),
    everything: (c, { width }) => op(c.operand([width, 3]), [0, 1]),
  },
});
const positive = { low: 0.5, high: 3 };

/** max(x, y) with y at least 0.25 away from x, on either side. */
function apart(c: GradientCase, { shape, other }: { shape: readonly Dim[]; other: readonly Dim[] }): Value {
  const x = c.operand(shape, { low: -0.2, high: 0.2 });
  return f.maximum(x, c.operand(other, { low: -1, high: 1, awayFromZero: 0.5 }));
}

const rotated = (c: GradientCase, [b, t]: readonly [Dim, Dim], { numHeads, half }: { numHeads: number; half: number }): Value => {
  const x = c.operand([b, t, numHeads * 2 * half]);
  return f.rotaryEmbedding(x, c.indices([b, t], 4), c.fixed([4, half]), c.fixed([4, half]), { numHeads });
};

export const gradientCases: Readonly<Record<string, OpGradient>> = {
  add: binary(f.add),
  sub: binary(f.sub),
  mul: binary(f.mul),
  div: binary(f.div, positive),
  maximum: {
    cases: {
      "equal shapes": (c, { n, m }) => apart(c, { shape: [n, m], other: [n, m] }),
      "both broadcast": (c, { n, m }) => apart(c, { shape: [n, 1, 2], other: [m, 1] }),
    },
  },
  neg: unary(f.neg),
  exp: unary(f.exp),
  log: unary(f.log, positive),
  sqrt: unary(f.sqrt, positive),
  reciprocal: unary(f.reciprocal, positive),
  tanh: unary(f.tanh),
  sigmoid: unary(f.sigmoid, { low: -6, high: 6 }),
  erf: unary(f.erf, { low: -4, high: 4 }),
  relu: unary(f.relu, { awayFromZero: 0.1 }),
  silu: unary(f.silu, { low: -6, high: 6 }),
  gelu: unary((x) => f.gelu(x, { approximate: "none" }), { low: -5, high: 5 }),
  geluTanh: unary((x) => f.gelu(x, { approximate: "tanh" }), { low: -5, high: 5 }),
  cast: unary((x) => f.cast(f.mul(f.cast(x, "bfloat16"), f.cast(x, "bfloat16")), "float32")),
  where: {
    cases: {
      "equal shapes": (c, { n, m }) => f.where(c.condition([n, m]), c.operand([n, m]), c.operand([n, m])),
      "all three broadcast": (c, { n, m, k }) => f.where(c.condition([n, 1, 1]), c.operand([m, 1]), c.operand([k])),
      "a wide condition": (c, { n, m }) => f.where(c.condition([n, m]), c.operand([]), c.operand([m])),
    },
  },
  matmul: {
    cases: {
      plain: (c, { n, m, k }) => f.matmul(c.operand([n, k]), c.operand([k, m])),
      "left transposed": (c, { n, m, k }) => f.matmul(c.operand([k, n]), c.operand([k, m]), { transposeA: true, alpha: -0.5 }),
      "right transposed": (c, { n, m, k }) => f.matmul(c.operand([n, k]), c.operand([m, k]), { transposeB: true, alpha: 3 }),
      "both transposed": (c, { n, m, k }) =>
        f.matmul(c.operand([k, n]), c.operand([m, k]), { transposeA: true, transposeB: true, alpha: 0.25 }),
      batched: (c, { n, m, k }) => f.matmul(c.operand([2, n, 3, k]), c.operand([2, n, k, m]), { alpha: 2 }),
      "batched, both transposed": (c, { n, m, k }) =>
        f.matmul(c.operand([n, k, 2]), c.operand([n, m, k]), { transposeA: true, transposeB: true }),
      "batches broadcast": (c, { n, m, k }) => f.matmul(c.operand([n, 1, 2, k]), c.operand([m, k, 3])),
      "batches broadcast, right transposed": (c, { n, m, k }) =>
        f.matmul(c.operand([n, 1, 2, k]), c.operand([m, 3, k]), { transposeB: true, alpha: 0.5 }),
      "a shared weight": (c, { n, m, k }) => f.matmul(c.operand([n, m, k]), c.operand([k, 3]), { alpha: 2 }),
      "a shared weight, transposed": (c, { n, m, k }) => f.matmul(c.operand([2, n, m, k]), c.operand([3, k]), { transposeB: true }),
      "a shared weight, left transposed": (c, { n, m, k }) => f.matmul(c.operand([n, k, m]), c.operand([k, 3]), { transposeA: true }),
      "a shared left side": (c, { n, m, k }) => f.matmul(c.operand([m, k]), c.operand([n, k, 3])),
      "one operand twice": (c, { n, k }) => {
        const x = c.operand([n, k]);
        return f.matmul(x, x, { transposeB: true });
      },
    },
  },
  reduceSum: reductions(f.reduceSum),
  reduceMean: { ...reductions(f.reduceMean), numbersOnly: true },
  softmax: { cases: { rows: (c, { n, m, width }) => f.softmax(c.operand([n, m, width], { low: -4, high: 4 })) } },
  projectedLogSumExp: {
    cases: { rows: (c, { n, width }) => f.projectedLogSumExp(c.operand([n, 2]), c.operand([width, 2])).logSumExp },
  },
  logSumExp: {
    cases: {
      rows: (c, { n, m, width }) => f.logSumExp(c.operand([n, m, width], { low: -4, high: 4 })),
      "a vector": (c, { width }) => f.logSumExp(c.operand([width])),
    },
  },
  rmsNorm: {
    // Rows may be close to zero, where the norm curves strongly against epsilon.
    tolerance: 1e-5,
    cases: {
      rows: (c, { n, m, width }) => f.rmsNorm(c.operand([n, m, width]), c.operand([width]), { epsilon: 1e-2 }),
      "a vector": (c, { width }) => f.rmsNorm(c.operand([width]), c.operand([width]), { epsilon: 1e-2 }),
    },
  },
  layerNorm: {
    tolerance: 1e-5,
    cases: {
      rows: (c, { n, m, width }) => f.layerNorm(c.operand([n, m, width]), c.operand([width]), c.operand([width]), { epsilon: 1e-2 }),
      "a vector": (c, { width }) => f.layerNorm(c.operand([width]), c.operand([width]), c.operand([width]), { epsilon: 1e-2 }),
    },
  },
  rotaryEmbedding: {
    cases: {
      "one head": (c, { n, m, width }) => rotated(c, [n, m], { numHeads: 1, half: width }),
      "several heads": (c, { n, m, width }) => rotated(c, [n, m], { numHeads: 3, half: width }),
    },
  },
  reshape: {
    cases: {
      join: (c, { n, m }) => f.reshape(c.operand([n, m, 2]), [multiplyDims(n, m), 2]),
      part: (c, { n, m }) => f.reshape(c.operand([multiplyDims(n, m), 4]), [n, m, 2, 2]),
    },
  },
  transpose: { cases: { "three dimensions": (c, { n, m, k }) => f.transpose(c.operand([n, m, k]), [2, 0, 1]) } },
  concat: {
    cases: {
      "three parts": (c, { n, m, k }) => f.concat([c.operand([2, n]), c.operand([2, m]), c.operand([2, k])], 1),
      "one operand twice": (c, { n, m }) => {
        const x = c.operand([n, m]);
        return f.concat([x, x], 0);
      },
    },
  },
  split: {
    cases: {
      "all parts": (c, { n, m, k }) => f.split(c.operand([addDims(n, m, k), 2]), 0, [n, m, k]),
      "a slice": (c, { n, m }) => f.slice(c.operand([2, addDims(n, m, 3)]), 1, { start: n, size: m }),
    },
  },
  broadcastTo: {
    cases: {
      rows: (c, { n, m }) => f.broadcastTo(c.operand([1, m]), [n, m]),
      "new dimensions": (c, { n, m }) => f.broadcastTo(c.operand([m]), [n, 2, m]),
      "a scalar": (c, { n }) => f.broadcastTo(c.operand([]), [n, 3]),
    },
  },
  gather: {
    cases: {
      rows: (c, { n, m, width }) => f.gather(c.operand([width, m]), c.indices([n, 3], width)),
      numbers: (c, { n, width }) => f.gather(c.operand([width]), c.indices([n], width)),
    },
  },
  splitGroups: {
    cases: {
      "some of the groups": (c, { n }) => {
        const { sizes } = f.groupRows(c.indices([n], 3), 3);
        const [first, , third] = f.splitGroups(c.operand([n, 2]), sizes);
        return [f.mul(first!, first!), third!];
      },
    },
  },
  dealRows: {
    cases: {
      copies: (c, { n, m }) => f.dealRows(c.operand([n, m]), { ...f.groupRows(c.indices([multiplyDims(n, 2)], 3), 3), copies: 2 }),
    },
  },
  collectRows: {
    cases: {
      copies: (c, { n, m }) =>
        f.collectRows(c.operand([multiplyDims(n, 2), m]), { ...f.groupRows(c.indices([multiplyDims(n, 2)], 3), 3), copies: 2, rows: n }),
    },
  },
  joinGroups: {
    cases: {
      "all groups": (c, { n, m }) => {
        const { order, sizes } = f.groupRows(c.indices([n], 3), 3);
        const pieces = f.splitGroups(f.gather(c.operand([n, 2]), order), sizes);
        const made = pieces.map((piece, i) => f.matmul(piece, c.operand([2, m]), { alpha: i + 1 }));
        return f.joinGroups(made, { sizes, rows: n });
      },
    },
  },
  scatterAddRows: {
    cases: {
      rows: (c, { n, m, width }) => f.scatterAddRows(c.indices([n, 2], width), c.operand([n, 2, m]), width),
      numbers: (c, { n, width }) => f.scatterAddRows(c.indices([n], width), c.operand([n]), width),
    },
  },
};
/** Nothing flows back through these. */
export const withoutGradient: Readonly<Record<string, (x: Value) => Value>> = {
  stopGradient: f.stopGradient,
  equal: (x) => f.cast(f.equal(x, x), "float32"),
  greaterOrEqual: (x) => f.cast(f.greaterOrEqual(x, x), "float32"),
  less: (x) => f.cast(f.less(x, x), "float32"),
  logicalAnd: (x) => f.cast(f.logicalAnd(f.less(x, x), f.less(x, x)), "float32"),
  logicalOr: (x) => f.cast(f.logicalOr(f.less(x, x), f.less(x, x)), "float32"),
  constant: (x) => f.constant(x.graph, 1),
  zeros: (x) => f.zeros(x.graph, x.shape),
  range: (x) => f.cast(f.range(x.graph, 3), "float32"),
  topK: (x) => f.cast(f.topK(x, 2), "float32"),
  groupRows: (x) => f.cast(f.groupRows(f.reshape(f.topK(x, 1), [2]), 3).order, "float32"),
  randomUniform: (x) => f.randomUniform(f.constant(x.graph, 7, "int64"), x.shape),
};
/** Steps of rounding have no slope; these have the gradient of what they round, which `exact` computes. */
export const roundedLike: Readonly<Record<string, (x: Value) => { readonly value: Value; readonly exact: Value }>> = {
  roundRows(x) {
    const four = f.concat([x, f.mul(f.split(x, 1, [1, 2])[0]!, 0.3)], 1);
    return { value: f.roundRows(four), exact: four };
  },
  matmulInt8(x) {
    const codes = x.graph.input("codes", { dtype: "int8", shape: [4, 3] });
    const scales = f.exp(f.cast(f.range(x.graph, 4), "float32"));
    const exact = f.mul(f.matmul(x, f.cast(codes, "float32"), { transposeB: true }), scales);
    return { value: f.matmulInt8(x, codes, { transposeB: true, scales }), exact };
  },
};
/** A gradient through these is an error. */
export const withoutRule: Readonly<Record<string, (x: Value) => Value>> = {
  reduceMax: (x) => f.reduceMax(x, [0]),
  dequantizeNf4: (x) =>
    f.dequantizeNf4(x.graph.input("codes", { dtype: "uint8", shape: [32] }), f.reshape(x, [6]), { shape: [4, 16], blockSize: 64 }),
};
