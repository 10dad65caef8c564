import { describe, expect, it } from "vitest";
import { createRandom } from "../../base/random.ts";
import { sumOfSquares } from "./sum-of-squares.ts";

const inTurn = (values: Float32Array): number => values.reduce((sum, value) => sum + value * value, 0);

describe("sumOfSquares", () => {
  // Nothing, less than a turn of the loop, no multiple of one, a block, more than a block, and less again after it.
  it.each([0, 1, 15, 16, 17, 32_768, 100_003, 5])("of %i numbers is that of one sum after the other", (length) => {
    const random = createRandom(length);
    const values = Float32Array.from({ length }, () => random.next() - 0.5);
    const expected = inTurn(values);
    expect(Math.abs(sumOfSquares(values) - expected)).toBeLessThanOrEqual(1e-13 * expected);
  });

  it("is of doubles: neither large nor tiny numbers are lost", () => {
    expect(sumOfSquares(Float32Array.of(1e30, 1e-30))).toBe(Math.fround(1e30) ** 2);
    expect(sumOfSquares(Float32Array.of(1e-30))).toBe(Math.fround(1e-30) ** 2);
  });

  it.each([Number.NaN, Number.POSITIVE_INFINITY])("keeps %f", (value) => {
    expect(sumOfSquares(Float32Array.of(1, value, 2))).toBe(value);
  });
});
