import fc from "fast-check";
import { describe, expect, it, test } from "vitest";
import {
  addDims,
  broadcastShapes,
  type Dim,
  dim,
  dimNames,
  dimsEqual,
  divideDims,
  evaluateDim,
  multiplyDims,
  type Shape,
  shapesEqual,
  showShape,
  sizeOf,
  subtractDims,
} from "./shape.ts";

const [n, m] = [dim("n"), dim("m")];

/** A random polynomial over a and b, with the same arithmetic on numbers beside it. */
const expression = fc.letrec<{ tree: (values: Record<string, number>) => readonly [Dim, number] }>((tie) => ({
  tree: fc.oneof(
    { maxDepth: 4, withCrossShrink: true },
    fc.integer({ min: -4, max: 4 }).map((value) => () => [value, value] as const),
    fc.constantFrom("a", "b").map((name) => (values: Record<string, number>) => [dim(name), values[name]!] as const),
    ...(
      [
        [addDims, (x: number, y: number) => x + y],
        [subtractDims, (x: number, y: number) => x - y],
        [multiplyDims, (x: number, y: number) => x * y],
      ] as const
    ).map(([symbolic, numeric]) =>
      fc.tuple(tie("tree"), tie("tree")).map(([left, right]) => (values: Record<string, number>) => {
        const [[l, x], [r, y]] = [left(values), right(values)];
        return [symbolic(l, r), numeric(x, y)] as const;
      }),
    ),
  ),
})).tree;
const values = fc.record({ a: fc.integer({ min: 0, max: 9 }), b: fc.integer({ min: 0, max: 9 }) });

describe("dimensions", () => {
  it("evaluate like the arithmetic that made them", () => {
    fc.assert(
      fc.property(expression, values, (tree, at) => {
        const [symbolic, numeric] = tree(at);
        expect(evaluateDim(symbolic, at) - numeric).toBe(0);
      }),
    );
  });
  it("are equal in every order, and constants collapse to numbers", () => {
    fc.assert(
      fc.property(expression, expression, values, (left, right, at) => {
        const [[a], [b]] = [left(at), right(at)];
        expect(dimsEqual(addDims(a, b), addDims(b, a))).toBe(true);
        expect(dimsEqual(multiplyDims(a, b), multiplyDims(b, a))).toBe(true);
        expect(subtractDims(a, a)).toBe(0);
        expect(dimsEqual(subtractDims(addDims(a, b), b), a)).toBe(true);
      }),
    );
  });
  it("divide back by a name, a number or themselves", () => {
    expect(dimsEqual(divideDims(multiplyDims(n, m, 6), multiplyDims(2, m)), multiplyDims(3, n))).toBe(true);
    expect(divideDims(multiplyDims(4, n), n)).toBe(4);
    expect(divideDims(12, 4)).toBe(3);
    expect(divideDims(addDims(n, m), addDims(m, n))).toBe(1);
    expect(dimsEqual(divideDims(addDims(multiplyDims(2, n), 4), 2), addDims(n, 2))).toBe(true);
  });
  test.each<[Dim, Dim]>([
    [7, 2],
    [7, 0],
    [n, m],
    [addDims(n, 1), n],
    [multiplyDims(3, n), 2],
    [n, addDims(n, 1)],
  ])("%s / %s leaves a remainder", (a, b) => expect(() => divideDims(a, b)).toThrow(`cannot divide size ${a} by ${b}`));
  it("list their names, and say which has no value", () => {
    expect(dimNames(addDims(multiplyDims(n, m), n, 3)).sort()).toEqual(["m", "n"]);
    expect(() => evaluateDim(n, { m: 2 })).toThrow('size "n" has no value; known: m.');
  });
  it("are shown in one form", () => expect(showShape([2, addDims(multiplyDims(n, 2), 1), multiplyDims(n, m)])).toBe("[2, 1+2*n, m*n]"));
});

describe("shapes", () => {
  it("have a size", () => {
    expect(sizeOf([])).toBe(1);
    expect(sizeOf([2, 0, 3])).toBe(0);
    expect(dimsEqual(sizeOf([n, 2, m]), multiplyDims(2, m, n))).toBe(true);
  });
  test.each<[Shape, Shape, Shape]>([
    [[2, 3], [3], [2, 3]],
    [
      [2, 1],
      [1, 3],
      [2, 3],
    ],
    [[], [4], [4]],
    [[n, 1], [m], [n, m]],
    [[0, 1], [3], [0, 3]],
  ])("%j and %j broadcast", (a, b, expected) => {
    expect(shapesEqual(broadcastShapes(a, b), expected)).toBe(true);
    expect(shapesEqual(broadcastShapes(b, a), expected)).toBe(true);
  });
  test.each<[Shape, Shape]>([
    [[2], [3]],
    [[n], [m]],
    [[n], [2]],
    [[0], [3]],
  ])("%j and %j do not", (a, b) => expect(() => broadcastShapes(a, b)).toThrow("do not broadcast"));
});
