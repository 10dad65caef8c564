import { expect, it } from "vitest";
import { roundHalfToEven } from "./round-half-to-even.ts";

it("rounds to the nearest integer, and to the even one of two", () => {
  const numbers = [0, 0.49, 0.5, 0.51, 1.5, 2.5, 126.5, 127.4999, 2 ** 22];
  expect(numbers.map(roundHalfToEven)).toEqual([0, 0, 0, 1, 2, 2, 126, 127, 2 ** 22]);
  for (const x of numbers) expect(roundHalfToEven(-x)).toBe(0 - roundHalfToEven(x));
});
