/** Compares a tensor with what a reference script kept of it: its norm and its first values. */
import { expect } from "vitest";

export interface Summary {
  readonly shape: readonly number[];
  readonly norm: number;
  readonly first: readonly number[];
}

const norm = (values: ArrayLike<number>): number => Math.sqrt(Array.from(values).reduce((sum, x) => sum + x * x, 0));

export function expectSummary(name: string, values: Float32Array, expected: Summary, tolerance: number): void {
  expect(values.length, `${name}: size`).toBe(expected.shape.reduce((product, n) => product * n, 1));
  expect(Math.abs(norm(values) - expected.norm), `${name}: norm ${norm(values)} against ${expected.norm}`).toBeLessThan(
    tolerance * (1 + expected.norm),
  );
  expected.first.forEach((value, i) => {
    expect(Math.abs(values[i]! - value), `${name}[${i}]: ${values[i]} against ${value}`).toBeLessThan(tolerance * (1 + Math.abs(value)));
  });
}
