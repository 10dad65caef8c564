import { expect, test } from "vitest";
import { createRandom } from "../../base/random.ts";
import { disjointMean, keepLargest } from "./task-vectors.ts";

test("keepLargest keeps as many as asked for, none of them smaller than one that went", () => {
  const random = createRandom(3);
  for (let round = 0; round < 200; round++) {
    // Few different values, so that many are equal; some are zero, tiny or huge.
    const scale = 10 ** (random.integer(60) - 30);
    const vector = Float32Array.from({ length: 1 + random.integer(40) }, () => (random.integer(9) - 4) * scale);
    const density = Math.max(random.next(), 0.01);
    const kept = keepLargest(vector, density);
    const expected = [...vector].map(Math.abs).sort((a, b) => b - a);
    const magnitudes = [...kept].map(Math.abs).sort((a, b) => b - a);
    const count = Math.floor(density * vector.length);
    expect(magnitudes).toEqual(expected.map((value, i) => (i < count ? value : 0)));
    kept.forEach((value, i) => expect(value === 0 || value === vector[i]).toBe(true));
  }
});

test("of equal values the first stay", () => expect([...keepLargest(Float32Array.of(1, -1, 1, 1), 0.5)]).toEqual([1, -1, 0, 0]));

// By hand: sums 1 + 2 - 4 = -1 elects minus (frequency elects plus); weights 1, 1, 2 act on what agrees.
test.each([
  ["total", -8],
  ["frequency", 1.5],
] as const)("disjointMean by %s", (method, expected) =>
  expect([...disjointMean([Float32Array.of(1), Float32Array.of(2), Float32Array.of(-4)], [1, 1, 2], method)]).toEqual([expected]),
);
