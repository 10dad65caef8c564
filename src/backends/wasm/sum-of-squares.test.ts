import { describe, expect, it } from "vitest";
import { createRandom } from "../../base/random.ts";
import { sumOfSquares } from "./sum-of-squares.ts";
import { VectorMemory } from "./vector-memory.ts";

const inTurn = (values: Float32Array): number => values.reduce((sum, value) => sum + value * value, 0);

describe("sumOfSquares", () => {
  // Nothing, less than a turn of the loop, no multiple of one, a block, more than a block, and less again after it.
  it.each([0, 1, 15, 16, 17, 32_768, 100_003, 5])("of %i numbers is that of one sum after the other", (length) => {
    const random = createRandom(length);
    const values = Float32Array.from({ length }, () => random.next() - 0.5);
    const expected = inTurn(values);
    expect(Math.abs(sumOfSquares(values) - expected)).toBeLessThanOrEqual(1e-13 * expected);
  });

  it.each([1, 16, 100_003])("of %i numbers in the middle of a memory is that of the same numbers elsewhere", (length) => {
    const vector = new VectorMemory({ elements: length + 9, vectors: 1 }).vector(length + 9).fill(3);
    const elsewhere = Float32Array.from({ length }, (_, i) => Math.sin(i + 1));
    vector.set(elsewhere, 5);
    const found = sumOfSquares(vector.subarray(5, length + 5));
    expect(Math.abs(found - sumOfSquares(elsewhere))).toBeLessThanOrEqual(1e-13 * found);
  });

  it("is of doubles: neither large nor tiny numbers are lost", () => {
    expect(sumOfSquares(Float32Array.of(1e30, 1e-30))).toBe(Math.fround(1e30) ** 2);
    expect(sumOfSquares(Float32Array.of(1e-30))).toBe(Math.fround(1e-30) ** 2);
  });

  it.each([Number.NaN, Number.POSITIVE_INFINITY])("keeps %f", (value) => {
    expect(sumOfSquares(Float32Array.of(1, value, 2))).toBe(value);
  });
});
