/**
 * Every gradient rule against central differences in float64, in dot-product form: for random u and v,
 * <J v, u> by differences equals <v, J^T u> by the rule. Shapes are random and include size 1 and broadcasting;
 * a failing seed is printed by fast-check. Inputs stay away from kinks.
 */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createRandom, type Random } from "../../src/base/random.ts";
import { gradients } from "../../src/tensor/autodiff.ts";
import { gradientRules } from "../../src/tensor/gradient-rules.ts";
import { Graph, type ReferenceArray, type Value } from "../../src/tensor/graph.ts";
import { interpret } from "../../src/tensor/interpret.ts";
import * as ops from "../../src/tensor/ops/index.ts";
import { ops as allOps } from "../../src/tensor/ops/registry.ts";
import { verifyGraph } from "../../src/tensor/passes/verify.ts";

interface Operand {
  readonly shape: readonly number[];
  /** A value for each element; default: normal. */
  readonly draw?: (random: Random) => number;
  /** Integers and conditions have no gradient. */
  readonly dtype?: "int64";
  /** No gradient is wanted. */
  readonly fixed?: boolean;
}
interface Case {
  readonly operands: readonly Operand[];
  build(values: readonly Value[]): Value;
}

const size = fc.integer({ min: 1, max: 4 });
const shapeOf = (rank: number) => fc.array(size, { minLength: rank, maxLength: rank });
const anyShape = fc.integer({ min: 0, max: 3 }).chain(shapeOf);
/** Two shapes that broadcast: some sizes of either become 1. */
const broadcasting = fc
  .tuple(fc.integer({ min: 1, max: 3 }).chain(shapeOf), fc.array(fc.integer({ min: 0, max: 2 }), { minLength: 3, maxLength: 3 }))
  .map(([shape, ones]) => [shape.map((n, i) => (ones[i] === 1 ? 1 : n)), shape.map((n, i) => (ones[i] === 2 ? 1 : n))]);
const positive = (random: Random): number => 0.5 + 2 * random.next();
const awayFromZero = (random: Random): number => (random.next() < 0.5 ? -1 : 1) * (0.2 + random.next());

const unary = (build: (x: Value) => Value, draw?: (random: Random) => number): fc.Arbitrary<Case> =>
  anyShape.map((shape) => ({ operands: [{ shape, ...(draw && { draw }) }], build: ([x]) => build(x!) }));
const binary = (build: (a: Value, b: Value) => Value, draw?: (random: Random) => number): fc.Arbitrary<Case> =>
  broadcasting.map(([a, b]) => ({ operands: [{ shape: a! }, { shape: b!, ...(draw && { draw }) }], build: ([x, y]) => build(x!, y!) }));
const rows = (build: (x: Value) => Value): fc.Arbitrary<Case> =>
  fc.tuple(size, fc.integer({ min: 2, max: 5 })).map((shape) => ({ operands: [{ shape }], build: ([x]) => build(x!) }));

const cases: Readonly<Record<string, fc.Arbitrary<Case>>> = {
  add: binary(ops.add),
  sub: binary(ops.sub),
  mul: binary(ops.mul),
  div: binary(ops.div, awayFromZero),
  maximum: binary((a, b) => ops.maximum(a, ops.add(b, 10))),
  neg: unary(ops.neg),
  exp: unary(ops.exp),
  log: unary(ops.log, positive),
  sqrt: unary(ops.sqrt, positive),
  reciprocal: unary(ops.reciprocal, awayFromZero),
  tanh: unary(ops.tanh),
  sigmoid: unary(ops.sigmoid),
  erf: unary(ops.erf),
  relu: unary(ops.relu, awayFromZero),
  silu: unary(ops.silu),
  gelu: unary((x) => ops.gelu(x, { approximate: "none" })),
  geluTanh: unary((x) => ops.gelu(x, { approximate: "tanh" })),
  where: broadcasting.map(([a, b]) => ({
    operands: [{ shape: a! }, { shape: b! }],
    build: ([x, y]) => ops.where(ops.less(ops.stopGradient(x!), ops.constant(x!.graph, 0)), ops.mul(x!, 2), y!),
  })),
  cast: unary((x) => ops.cast(ops.cast(x, "float16"), "float32")),
  matmul: fc
    .tuple(size, size, size, fc.boolean(), fc.boolean(), fc.constantFrom([], [2], [1]), fc.constantFrom([], [2]))
    .map(([M, K, N, transposeA, transposeB, batchA, batchB]) => ({
      operands: [{ shape: [...batchA, ...(transposeA ? [K, M] : [M, K])] }, { shape: [...batchB, ...(transposeB ? [N, K] : [K, N])] }],
      build: ([a, b]) => ops.matmul(a!, b!, { transposeA, transposeB, alpha: 0.7 }),
    })),
  reduceSum: fc
    .tuple(shapeOf(3), fc.subarray([0, 1, 2], { minLength: 1 }), fc.boolean())
    .map(([shape, axes, keepDims]) => ({ operands: [{ shape }], build: ([x]) => ops.reduceSum(x!, axes, { keepDims }) })),
  reduceMean: fc
    .tuple(shapeOf(3), fc.subarray([0, 1, 2], { minLength: 1 }))
    .map(([shape, axes]) => ({ operands: [{ shape }], build: ([x]) => ops.reduceMean(x!, axes) })),
  softmax: rows(ops.softmax),
  logSumExp: rows(ops.logSumExp),
  rmsNorm: fc
    .tuple(size, fc.integer({ min: 2, max: 5 }))
    .map(([n, C]) => ({ operands: [{ shape: [n, C] }, { shape: [C] }], build: ([x, w]) => ops.rmsNorm(x!, w!, { epsilon: 1e-2 }) })),
  layerNorm: fc.tuple(size, fc.integer({ min: 2, max: 5 })).map(([n, C]) => ({
    operands: [{ shape: [n, C] }, { shape: [C] }, { shape: [C] }],
    build: ([x, w, b]) => ops.layerNorm(x!, w!, b!, { epsilon: 1e-2 }),
  })),
  rotaryEmbedding: fc.tuple(size, size, size).map(([B, T, H]) => ({
    operands: [
      { shape: [B, T, H * 4] },
      { shape: [B, T], dtype: "int64" as const, draw: (random) => random.integer(3) },
      { shape: [3, 2], fixed: true },
      { shape: [3, 2], fixed: true },
    ],
    build: ([x, positions, cos, sin]) => ops.rotaryEmbedding(x!, positions!, cos!, sin!, { numHeads: H }),
  })),
  reshape: shapeOf(3).map((shape) => ({ operands: [{ shape }], build: ([x]) => ops.reshape(x!, [shape[0]! * shape[1]!, shape[2]!]) })),
  transpose: fc
    .tuple(shapeOf(3), fc.shuffledSubarray([0, 1, 2], { minLength: 3 }))
    .map(([shape, permutation]) => ({ operands: [{ shape }], build: ([x]) => ops.transpose(x!, permutation) })),
  concat: fc
    .tuple(shapeOf(2), size)
    .map(([shape, more]) => ({ operands: [{ shape }, { shape: [shape[0]!, more] }], build: ([a, b]) => ops.concat([a!, b!], 1) })),
  split: fc
    .tuple(size, size, size)
    .map(([n, a, b]) => ({ operands: [{ shape: [n, a + b] }], build: ([x]) => ops.mul(ops.split(x!, 1, [a, b])[1]!, 3) })),
  broadcastTo: fc.tuple(size, size).map(([n, m]) => ({ operands: [{ shape: [1, m] }], build: ([x]) => ops.broadcastTo(x!, [n, m]) })),
  gather: fc.tuple(size, size, size).map(([N, C, n]) => ({
    operands: [{ shape: [N, C] }, { shape: [n], dtype: "int64" as const, draw: (random) => random.integer(N) }],
    build: ([table, indices]) => ops.gather(table!, indices!),
  })),
  scatterAddRows: fc.tuple(size, size, size).map(([N, C, n]) => ({
    operands: [{ shape: [n, C] }, { shape: [n], dtype: "int64" as const, draw: (random) => random.integer(N) }],
    build: ([updates, indices]) => ops.scatterAddRows(indices!, updates!, N),
  })),
};

const withoutGradient = new Set([
  "equal",
  "greaterOrEqual",
  "less",
  "logicalAnd",
  "logicalOr",
  "constant",
  "zeros",
  "randomUniform",
  "stopGradient",
  "reduceMax",
]);

describe("gradient rules", () => {
  it("has a case for every differentiable operation", () => {
    expect(allOps.map(({ name }) => name).filter((name) => !withoutGradient.has(name) && !(name in cases))).toEqual([]);
    expect(allOps.map(({ name }) => name).filter((name) => name !== "reduceMax" && !(name in gradientRules))).toEqual([]);
  });

  it.each(Object.keys(cases))("%s", (name) => {
    fc.assert(
      fc.property(cases[name]!, fc.integer({ min: 0, max: 2 ** 31 - 1 }), (one, seed) => checkCase(one, createRandom(seed))),
      { numRuns: 40 },
    );
  });
});

function checkCase({ operands, build }: Case, random: Random): void {
  const graph = new Graph();
  const inputs = operands.map(({ shape, dtype }, i) => graph.input(`x${i}`, { dtype: dtype ?? "float32", shape }));
  const output = build(inputs);
  graph.output("y", output);
  const seed = graph.input("u", { dtype: "float32", shape: output.shape });
  const differentiable = inputs.filter(({ dtype }, i) => dtype === "float32" && !operands[i]!.fixed);
  const found = gradients({ graph, outputs: [{ value: output, gradient: seed }], wrt: differentiable });
  differentiable.forEach((_, i) => found[i] && graph.output(`g${i}`, found[i]));
  verifyGraph(graph);

  const draw = (shape: readonly number[], each: (random: Random) => number = (r) => r.normal()): ReferenceArray => ({
    shape,
    data: Float64Array.from({ length: shape.reduce((p, n) => p * n, 1) }, () => each(random)),
  });
  const point = Object.fromEntries(operands.map(({ shape, draw: each }, i) => [`x${i}`, draw(shape, each)]));
  const u = draw(output.shape as number[]);
  const at = (values: Record<string, ReferenceArray>): Float64Array => interpret(graph, { ...values, u }).y!.data;
  const analytic = interpret(graph, { ...point, u });
  differentiable.forEach((value, i) => {
    const name = [...graph.inputs].find(([, input]) => input === value)![0];
    const x = point[name]!;
    const v = draw(x.shape);
    const h = 1e-5;
    const moved = (sign: number): Float64Array =>
      at({ ...point, [name]: { shape: x.shape, data: x.data.map((n, k) => n + sign * h * v.data[k]!) } });
    const [plus, minus] = [moved(1), moved(-1)];
    const numeric = u.data.reduce((sum, weight, k) => sum + (weight * (plus[k]! - minus[k]!)) / (2 * h), 0);
    const gradient = analytic[`g${i}`];
    const exact = gradient ? gradient.data.reduce((sum, n, k) => sum + n * v.data[k]!, 0) : 0;
    expect(Math.abs(numeric - exact), `operand ${i}: by differences ${numeric}, by rule ${exact}`).toBeLessThan(
      1e-6 * (1 + Math.abs(exact) + Math.abs(numeric)),
    );
    if (gradient) expect(gradient.shape).toEqual(x.shape);
  });
}
