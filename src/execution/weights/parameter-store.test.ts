import { describe, expect, it } from "vitest";
import { partsOf } from "./parameter-store.ts";

describe("partsOf", () => {
  it.each([
    { sizes: [], parts: [] },
    { sizes: [4, 3, 3], parts: [[4, 3, 3]] },
    { sizes: [4, 7, 3, 1], parts: [[4], [7, 3], [1]] },
    { sizes: [2, 30, 5, 5], parts: [[2], [30], [5, 5]] },
  ])("divides parameters of $sizes elements where a memory holds ten", ({ sizes, parts }) => {
    const found = partsOf(
      sizes.map((size) => ({ shape: [size, 1] })),
      10,
    );
    expect(found.map((part) => part.map(({ shape }) => shape[0]))).toEqual(parts);
  });
});
