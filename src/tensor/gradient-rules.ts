/**
 * All of reverse mode as one table: for every operation, the gradients of its operands from the gradient of its result.
 * The rules stand apart from the operations because each is written with other operations; together they read as one page.
 * `noGradient` lets nothing flow back. An operation without an entry is an error where a gradient has to pass.
 */
import { ShapeError } from "../base/errors.ts";
import { isFloat } from "./dtype.ts";
import type { Node, Value } from "./graph.ts";
import * as ops from "./ops/index.ts";
import type { MatmulOptions } from "./ops/matmul.ts";
import type { ProjectedOptions } from "./ops/projected-log-sum-exp.ts";
import { splitAs } from "./ops/row-groups.ts";
import { dimsEqual, multiplyDims, type Shape, shapesEqual, sizeOf } from "./shape.ts";

const {
  add,
  broadcastTo,
  cast,
  collectRows,
  concat,
  constant,
  dealRows,
  div,
  erf,
  exp,
  gather,
  greaterOrEqual,
  joinGroups,
  matmul,
  matmulInt8,
  mul,
  neg,
} = ops;
const { reduceSum, reshape, rotaryEmbedding, scatterAddRows, sigmoid, softmax, split, sub, tanh, transpose, where, zeros } = ops;

export interface GradientContext {
  readonly node: Node;
  readonly inputs: readonly Value[];
  readonly outputs: readonly Value[];
  /** dL/d(output i); undefined where no path leads to the loss. At least one is defined. */
  readonly outputGradients: readonly (Value | undefined)[];
}
/** dL/d(input i), of the shape of input i; undefined = none. */
export type GradientRule = (context: GradientContext) => (Value | undefined)[];

const noGradient: GradientRule = ({ inputs }) => inputs.map(() => undefined);

/** Two operands with broadcasting: the rule gives gradients in the shape of the result. */
const binary =
  (left: (g: Value, a: Value, b: Value) => Value, right: (g: Value, a: Value, b: Value) => Value): GradientRule =>
  ({ inputs: [a, b], outputGradients: [g] }) => [reduceToShape(left(g!, a!, b!), a!.shape), reduceToShape(right(g!, a!, b!), b!.shape)];

/** One operand x with result y. */
const unary =
  (rule: (g: Value, x: Value, y: Value) => Value): GradientRule =>
  ({ inputs: [x], outputs: [y], outputGradients: [g] }) => [rule(g!, x!, y!)];

const one = (like: Value): Value => constant(like.graph, 1, like.dtype);
const zero = (like: Value): Value => constant(like.graph, 0, like.dtype);

export const gradientRules: Readonly<Record<string, GradientRule>> = {
  add: binary(
    (g) => g,
    (g) => g,
  ),
  sub: binary(
    (g) => g,
    (g) => neg(g),
  ),
  mul: binary(
    (g, _, b) => mul(g, b),
    (g, a) => mul(g, a),
  ),
  div: binary(
    (g, _, b) => div(g, b),
    (g, a, b) => neg(div(mul(g, a), mul(b, b))),
  ),
  maximum: binary(
    (g, a, b) => where(greaterOrEqual(a, b), g, zero(g)),
    (g, a, b) => where(greaterOrEqual(a, b), zero(g), g),
  ),

  neg: unary((g) => neg(g)),
  exp: unary((g, _, y) => mul(g, y)),
  log: unary((g, x) => div(g, x)),
  sqrt: unary((g, _, y) => div(mul(g, 0.5), y)),
  reciprocal: unary((g, _, y) => neg(mul(g, mul(y, y)))),
  tanh: unary((g, _, y) => mul(g, sub(one(y), mul(y, y)))),
  sigmoid: unary((g, _, y) => mul(g, mul(y, sub(one(y), y)))),
  erf: unary((g, x) => mul(g, mul(exp(neg(mul(x, x))), 2 / Math.sqrt(Math.PI)))),
  relu: unary((g, x) => where(greaterOrEqual(x, zero(x)), g, zero(g))),
  // y = x s: y' = s + y (1 - s)
  silu: unary((g, x, y) => {
    const s = sigmoid(x);
    return mul(g, add(s, mul(y, sub(one(s), s))));
  }),
  // Phi(x) + x phi(x)
  gelu: unary((g, x) => {
    const cumulative = add(mul(erf(mul(x, Math.SQRT1_2)), 0.5), 0.5);
    const density = mul(exp(mul(mul(x, x), -0.5)), 1 / Math.sqrt(2 * Math.PI));
    return mul(g, add(cumulative, mul(x, density)));
  }),
  geluTanh: unary((g, x) => {
    const [scale, cubic] = [Math.sqrt(2 / Math.PI), 0.044715];
    const square = mul(x, x);
    const t = tanh(mul(x, add(mul(square, scale * cubic), scale)));
    const slope = add(mul(square, 3 * scale * cubic), scale);
    return mul(g, mul(add(add(t, 1), mul(mul(x, sub(one(t), mul(t, t))), slope)), 0.5));
  }),
  stopGradient: noGradient,

  equal: noGradient,
  greaterOrEqual: noGradient,
  less: noGradient,
  logicalAnd: noGradient,
  logicalOr: noGradient,
  constant: noGradient,
  zeros: noGradient,
  range: noGradient,
  randomUniform: noGradient,
  where: ({ inputs: [condition, a, b], outputGradients: [g] }) => [
    undefined,
    reduceToShape(where(condition!, g!, zero(g!)), a!.shape),
    reduceToShape(where(condition!, zero(g!), g!), b!.shape),
  ],
  cast: ({ inputs: [x], outputGradients: [g] }) => [isFloat(x!.dtype) ? cast(g!, x!.dtype) : undefined],

  // C = alpha A B: dA = alpha G B^T, dB = alpha A^T G, each transposed where its operand was.
  matmul({ node, inputs: [a, b], outputGradients: [g] }) {
    const { transposeA, transposeB, alpha } = node.attributes as unknown as Required<MatmulOptions>;
    const left = transposeA
      ? matmul(b!, g!, { transposeA: transposeB, transposeB: true, alpha })
      : matmul(g!, b!, { transposeB: !transposeB, alpha });
    // A weight shared by a whole batch: one product over all rows instead of one for each item and a sum.
    const shared = b!.shape.length === 2 && a!.shape.length > 2 && !transposeA;
    const [x, y] = shared ? [asRows(a!), asRows(g!)] : [a!, g!];
    const right = transposeB
      ? matmul(y, x, { transposeA: true, transposeB: transposeA, alpha })
      : matmul(x, y, { transposeA: !transposeA, alpha });
    return [reduceToShape(left, a!.shape), reduceToShape(right, b!.shape)];
  },
  roundRows: unary((g) => g),
  // Rounding of x passes gradients on; the matrix and its scales are frozen.
  matmulInt8({ node, inputs: [, codes, scales], outputGradients: [g] }) {
    const scaled = scales ? mul(g!, scales) : g!;
    return [matmulInt8(scaled, codes!, { transposeB: !node.attributes.transposeB }), undefined, undefined];
  },
  reduceSum: ({ node, inputs: [x], outputGradients: [g] }) => [spreadBack(g!, x!, node.attributes.axes as number[])],
  reduceMean({ node, inputs: [x], outputGradients: [g] }) {
    const axes = node.attributes.axes as number[];
    const size = knownSize(
      "reduceMean",
      axes.map((axis) => x!.shape[axis]!),
    );
    return [mul(spreadBack(g!, x!, axes), 1 / size)];
  },
  softmax: unary((g, _, p) => mul(sub(g, reduceSum(mul(g, p), [-1], { keepDims: true })), p)),
  logSumExp: unary((g, x) => mul(softmax(x), reshape(g, [...g.shape, 1]))),
  // The mean row was made with the sum; the scores are made again where the table is trained.
  projectedLogSumExp({ node, inputs: [x, table, scales], outputs: [sum, , mean], outputGradients: [g] }) {
    const { softCap } = node.attributes as ProjectedOptions;
    const column = (values: Value): Value => reshape(values, [...values.shape, 1]);
    if (scales) return [mul(mean!, column(g!)), undefined, undefined];
    const scores = matmul(x!, table!, { transposeB: true });
    const bent = softCap === undefined ? undefined : tanh(mul(scores, 1 / softCap));
    const softmaxed = exp(sub(bent ? mul(bent, softCap!) : scores, column(sum!)));
    const pull = bent ? mul(softmaxed, sub(one(bent), mul(bent, bent))) : softmaxed;
    return [mul(mean!, column(g!)), matmul(mul(pull, column(g!)), x!, { transposeA: true })];
  },
  // dx = (g w - n mean(g w n)) / rms with n = x / rms
  rmsNorm({ inputs: [x, weight], outputs: [, inverse], outputGradients: [g] }) {
    const normalised = mul(x!, inverse!);
    const scaled = mul(g!, weight!);
    return [mul(sub(scaled, mul(normalised, rowMean("rmsNorm", mul(scaled, normalised)))), inverse!), overRows(mul(g!, normalised))];
  },
  layerNorm({ inputs: [x, weight], outputs: [, mean, inverse], outputGradients: [g] }) {
    const normalised = mul(sub(x!, mean!), inverse!);
    const scaled = mul(g!, weight!);
    const centred = sub(sub(scaled, rowMean("layerNorm", scaled)), mul(normalised, rowMean("layerNorm", mul(scaled, normalised))));
    return [mul(centred, inverse!), overRows(mul(g!, normalised)), overRows(g!)];
  },
  // A rotation's gradient is the rotation back.
  rotaryEmbedding({ node, inputs: [, positions, cos, sin], outputGradients: [g] }) {
    const { numHeads } = node.attributes as { numHeads: number };
    return [rotaryEmbedding(g!, positions!, cos!, neg(sin!), { numHeads }), undefined, undefined, undefined];
  },

  reshape: unary((g, x) => reshape(g, x.shape)),
  transpose({ node, outputGradients: [g] }) {
    const permutation = node.attributes.permutation as number[];
    return [
      transpose(
        g!,
        permutation.map((_, i) => permutation.indexOf(i)),
      ),
    ];
  },
  concat({ node, inputs, outputGradients: [g] }) {
    const axis = node.attributes.axis as number;
    return [
      ...split(
        g!,
        axis,
        inputs.map(({ shape }) => shape[axis]!),
      ),
    ];
  },
  split({ node, outputs, outputGradients }) {
    return [
      concat(
        outputs.map((output, i) => outputGradients[i] ?? zeros(output.graph, output.shape, output.dtype)),
        node.attributes.axis as number,
      ),
    ];
  },
  broadcastTo: unary((g, x) => reduceToShape(g, x.shape)),
  gather: ({ inputs: [table, indices], outputGradients: [g] }) => [
    cast(scatterAddRows(indices!, cast(g!, "float32"), table!.shape[0]!), table!.dtype),
    undefined,
  ],
  topK: noGradient,
  groupRows: noGradient,
  dealRows({ node, inputs: [x, order, places], outputGradients: [g] }) {
    const copies = node.attributes.copies as number;
    return [collectRows(g!, { order: order!, places: places!, copies, rows: x!.shape[0]! }), undefined, undefined];
  },
  collectRows({ node, inputs: [, order, places], outputGradients: [g] }) {
    return [dealRows(g!, { order: order!, places: places!, copies: node.attributes.copies as number }), undefined, undefined];
  },
  splitGroups({ inputs: [x, sizes], outputs, outputGradients }) {
    const pieces = outputs.map((output, i) => outputGradients[i] ?? zeros(output.graph, output.shape, output.dtype));
    return [joinGroups(pieces, { sizes: sizes!, rows: x!.shape[0]! }), undefined];
  },
  joinGroups({ inputs: [sizes, ...pieces], outputGradients: [g] }) {
    const names = pieces.map(({ shape }) => shape[0]!);
    return [undefined, ...splitAs(g!, sizes!, names)];
  },
  scatterAddRows: ({ inputs: [indices], outputGradients: [g] }) => [undefined, gather(g!, indices!)],
};

/** Undo broadcasting: sum a gradient over the dimensions that `shape` did not have, or had with size 1. */
function reduceToShape(value: Value, shape: Shape): Value {
  if (shapesEqual(value.shape, shape)) return value;
  const extra = value.shape.length - shape.length;
  const axes = value.shape.flatMap((d, i) => (i < extra || (!dimsEqual(d, shape[i - extra]!) && shape[i - extra] === 1) ? [i] : []));
  if (axes.length === 0) return broadcastTo(value, shape);
  // A sum of many float16 numbers would lose the small ones.
  return reshape(cast(reduceSum(cast(value, "float32"), axes), value.dtype), shape);
}

/** The gradient of a sum, spread back over the axes. */
const spreadBack = (g: Value, x: Value, axes: readonly number[]): Value =>
  broadcastTo(
    reshape(
      g,
      x.shape.map((d, i) => (axes.includes(i) ? 1 : d)),
    ),
    x.shape,
  );

const asRows = (x: Value): Value => reshape(x, [multiplyDims(...x.shape.slice(0, -1)), x.shape.at(-1)!]);
/** Sum over all but the last axis, [C]. */
const overRows = (x: Value): Value => reduceSum(asRows(x), [0]);
const rowMean = (op: string, x: Value): Value => mul(reduceSum(x, [-1], { keepDims: true }), 1 / knownSize(op, x.shape.slice(-1)));

/** Means divide by a number that stands in the graph. */
function knownSize(op: string, shape: Shape): number {
  const size = sizeOf(shape);
  if (typeof size !== "number")
    throw new ShapeError(
      `${op} has no gradient over the named size ${size}; write the mean with reduceSum and div, or make the size a number.`,
    );
  return size;
}
