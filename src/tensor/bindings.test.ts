import { expect, test } from "vitest";
import { bindDims } from "./bindings.ts";
import { addDims, dim, multiplyDims } from "./shape.ts";

const [n, m] = [dim("n"), dim("m")];

test("names are bound wherever they stand alone, with or without a factor", () => {
  const inputs = [
    { name: "x", shape: [multiplyDims(n, m), addDims(n, 1)], actual: [12, 4] },
    { name: "y", shape: [multiplyDims(2, n), 5], actual: [6, 5] },
    { name: "z", shape: [m], actual: [4] },
  ];
  expect(bindDims(inputs)).toEqual({ n: 3, m: 4 });
});
test("a size may be zero", () => expect(bindDims([{ name: "x", shape: [n], actual: [0] }])).toEqual({ n: 0 }));
test("another rank", () =>
  expect(() => bindDims([{ name: "x", shape: [n], actual: [2, 3] }])).toThrow('input "x" has shape [2, 3]; expected [n].'));
test("another number", () => expect(() => bindDims([{ name: "x", shape: [n, 4], actual: [2, 3] }])).toThrow("where dimension 1 is 4"));
test("one name with two values", () => {
  const inputs = [
    { name: "x", shape: [n], actual: [2] },
    { name: "y", shape: [n], actual: [3] },
  ];
  expect(() => bindDims(inputs)).toThrow('input "y" has shape [3]; expected [n], where dimension 0 is 2.');
});
test("a product that contradicts its factors", () => {
  const inputs = [
    { name: "x", shape: [n, m], actual: [2, 3] },
    { name: "y", shape: [multiplyDims(n, m)], actual: [7] },
  ];
  expect(() => bindDims(inputs)).toThrow("where dimension 0 is 6");
});
test("a size that is no multiple of its factor", () => {
  expect(() => bindDims([{ name: "x", shape: [multiplyDims(2, n)], actual: [5] }])).toThrow("dimension 0 is a multiple of 2");
});
