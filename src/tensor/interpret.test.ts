import { describe, expect, it, test } from "vitest";
import { Graph, type ReferenceArray, type Value } from "./graph.ts";
import { interpret } from "./interpret.ts";
import { errorFunction } from "./ops/error-function.ts";
import * as f from "./ops/index.ts";
import { mix } from "./ops/random-uniform.ts";
import { dim } from "./shape.ts";

const array = (shape: readonly number[], data: readonly number[]): ReferenceArray => ({ shape, data: Float64Array.from(data) });

function evaluate(inputs: readonly ReferenceArray[], build: (...values: Value[]) => Value, integers: readonly number[] = []): number[] {
  const graph = new Graph();
  const values = inputs.map(({ shape }, i) => graph.input(`x${i}`, { dtype: integers.includes(i) ? "int64" : "float32", shape }));
  graph.output("y", build(...values));
  return [...interpret(graph, Object.fromEntries(inputs.map((input, i) => [`x${i}`, input]))).y!.data];
}
const close = (actual: readonly number[], expected: readonly number[]): void => {
  expect(actual).toHaveLength(expected.length);
  for (const [i, want] of expected.entries()) expect(actual[i]).toBeCloseTo(want, 12);
};

// Worked by hand: everything else is measured against this interpreter, so it needs numbers of its own.
describe("operations", () => {
  test("matmul with transposes and a scale", () => {
    const [a, b] = [array([2, 3], [1, 2, 3, 4, 5, 6]), array([2, 3], [1, 0, 2, 0, 1, 1])];
    close(
      evaluate([a, b], (x, y) => f.matmul(x, y, { transposeB: true })),
      [7, 5, 16, 11],
    );
    close(
      evaluate([a, b], (x, y) => f.matmul(x, y, { transposeA: true, alpha: 2 })),
      [2, 8, 12, 4, 10, 18, 6, 12, 24],
    );
  });
  test("batches of matmul broadcast", () => {
    const [a, b] = [array([2, 1, 1, 2], [1, 2, 3, 4]), array([2, 2, 1], [1, 1, 0, 1])];
    close(
      evaluate([a, b], (x, y) => f.matmul(x, y)),
      [3, 2, 7, 4],
    );
  });
  test("broadcasting", () => close(evaluate([array([2, 1], [1, 2]), array([3], [10, 20, 30])], f.add), [11, 21, 31, 12, 22, 32]));
  test("reductions", () => {
    const x = array([2, 2, 2], [1, 2, 3, 4, 5, 6, 7, 8]);
    close(
      evaluate([x], (v) => f.reduceSum(v, [0, 2])),
      [14, 22],
    );
    close(
      evaluate([x], (v) => f.reduceMean(v, [1])),
      [2, 3, 6, 7],
    );
    close(
      evaluate([x], (v) => f.reduceMax(v, [-1])),
      [2, 4, 6, 8],
    );
  });
  test("softmax and logSumExp stay finite", () => {
    const x = array([1, 2], [1000, 1000 + Math.log(3)]);
    close(evaluate([x], f.softmax), [0.25, 0.75]);
    close(evaluate([x], f.logSumExp), [1000 + Math.log(4)]);
  });
  test("norms", () => {
    const [x, one, zero] = [array([1, 2], [3, 4]), array([2], [1, 2]), array([2], [0, 5])];
    close(
      evaluate([x, one], (v, w) => f.rmsNorm(v, w, { epsilon: 0 })),
      [3 / Math.sqrt(12.5), 8 / Math.sqrt(12.5)],
    );
    close(
      evaluate([x, one, zero], (v, w, b) => f.layerNorm(v, w, b, { epsilon: 0 })),
      [-1, 7],
    );
  });
  test("a rotation by a quarter turns channel j into channel j + D / 2", () => {
    const inputs = [array([1, 1, 4], [1, 2, 3, 4]), array([1, 1], [1]), array([2, 2], [1, 1, 0, 0]), array([2, 2], [0, 0, 1, 1])];
    close(
      evaluate(inputs, (x, p, cos, sin) => f.rotaryEmbedding(x!, p!, cos!, sin!, { numHeads: 1 }), [1]),
      [-3, -4, 1, 2],
    );
  });
  test("gather, and its reverse adds repeated rows", () => {
    const [table, indices] = [array([3, 2], [1, 2, 3, 4, 5, 6]), array([3], [2, 0, 2])];
    close(
      evaluate([table, indices], (x, i) => f.gather(x, i), [1]),
      [5, 6, 1, 2, 5, 6],
    );
    close(
      evaluate([table, indices], (x, i) => f.scatterAddRows(i, x, 4), [1]),
      [3, 4, 0, 0, 6, 8, 0, 0],
    );
  });
  test("an index outside the table is an error", () => {
    const [table, indices] = [array([3, 1], [1, 2, 3]), array([1], [3])];
    expect(() => evaluate([table, indices], (x, i) => f.gather(x, i), [1])).toThrow("gather: index 3 is out of range; expected 0 to 2.");
    expect(() => evaluate([table, array([3], [0, 4, 1])], (x, i) => f.scatterAddRows(i, x, 4), [1])).toThrow("index 4 is out of range");
  });
  test("joining and cutting along a middle axis", () => {
    const [a, b] = [array([2, 1, 2], [1, 2, 3, 4]), array([2, 2, 2], [5, 6, 7, 8, 9, 10, 11, 12])];
    close(
      evaluate([a, b], (x, y) => f.concat([x, y], 1)),
      [1, 2, 5, 6, 7, 8, 3, 4, 9, 10, 11, 12],
    );
    close(
      evaluate([b], (x) => f.slice(x, 1, { start: 1, size: 1 })),
      [7, 8, 11, 12],
    );
    close(
      evaluate([b], (x) => f.transpose(x, [1, 2, 0])),
      [5, 9, 6, 10, 7, 11, 8, 12],
    );
  });
  test("gelu", () => {
    close(
      evaluate([array([2], [1, -1])], (x) => f.gelu(x, { approximate: "none" })),
      [0.841344746068543, -0.15865525393145702],
    );
    expect(evaluate([array([1], [1])], (x) => f.gelu(x, { approximate: "tanh" }))[0]).toBeCloseTo(0.841192, 6);
  });
  // From the C library's erf; 2.5 is where one method takes over from the other.
  test.each([
    [0, 0],
    [0.5, 0.5204998778130465],
    [1, 0.8427007929497149],
    [-2, -0.9953222650189527],
    [2.4999999, 0.9995930477647266],
    [2.5, 0.999593047982555],
    [3.5, 0.9999992569016276],
    [9, 1],
  ])("erf(%d)", (x, expected) => expect(errorFunction(x)).toBeCloseTo(expected, 13));
});

describe("randomUniform", () => {
  const draw = (seed: number, shape: number[] = [20_000]): number[] => evaluate([array([], [seed])], (s) => f.randomUniform(s, shape), [0]);
  // Printed by the same steps compiled from C, with its unsigned 32-bit arithmetic.
  it("mixes as documented", () => expect([0, 1, 2, 0xffffffff].map(mix)).toEqual([0, 1753845952, 3507691905, 1734902346]));
  it("lies in [0, 1) with the mean and variance of a uniform variable", () => {
    const numbers = draw(42);
    const mean = numbers.reduce((sum, x) => sum + x, 0) / numbers.length;
    const variance = numbers.reduce((sum, x) => sum + (x - mean) ** 2, 0) / numbers.length;
    expect(Math.min(...numbers)).toBeGreaterThanOrEqual(0);
    expect(Math.max(...numbers)).toBeLessThan(1);
    expect(mean).toBeCloseTo(1 / 2, 1.5);
    expect(variance).toBeCloseTo(1 / 12, 2);
  });
  it("depends on the seed and the position alone", () => {
    expect(draw(7, [4, 6])).toEqual(draw(7, [24]));
    expect(draw(7, [8])).not.toEqual(draw(8, [8]));
    expect(draw(7 + 2 ** 32, [8])).toEqual(draw(7, [8]));
  });
});

describe("inputs", () => {
  const graph = new Graph();
  graph.output("y", f.mul(graph.input("x", { dtype: "float32", shape: [dim("n"), 2] }), 2));
  it("bind named sizes", () => expect(interpret(graph, { x: array([1, 2], [3, 4]) }).y).toEqual(array([1, 2], [6, 8])));
  it("that are missing are named", () => expect(() => interpret(graph, { z: array([], [1]) })).toThrow('input "x" is missing; given: z.'));
  it("of another shape are refused", () => expect(() => interpret(graph, { x: array([2, 1], [1, 2]) })).toThrow("expected [n, 2]"));
  it("with too few elements are refused", () => {
    expect(() => interpret(graph, { x: array([2, 2], [1, 2]) })).toThrow('input "x" has 2 elements; its shape [2, 2] needs 4.');
  });
});
