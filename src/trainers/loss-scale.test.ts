import { describe, expect, it } from "vitest";
import { initialLossScale, nextLossScale } from "./loss-scale.ts";

describe("nextLossScale", () => {
  const stateAfter = (steps: readonly boolean[], from = initialLossScale) =>
    steps.reduce((state, overflowed) => nextLossScale(state, { overflowed }), from);

  it("doubles after 2000 good steps, and begins to count again", () => {
    const good = Array<boolean>(1999).fill(false);
    expect(stateAfter(good)).toEqual({ scale: 65536, goodSteps: 1999, skippedSteps: 0 });
    expect(stateAfter([...good, false])).toEqual({ scale: 131072, goodSteps: 0, skippedSteps: 0 });
  });

  it("halves at an overflow, which counts the steps anew and is remembered", () => {
    expect(stateAfter([false, true, false])).toEqual({ scale: 32768, goodSteps: 1, skippedSteps: 1 });
  });

  it("gives up where no scale helps", () => {
    expect(() => stateAfter(Array<boolean>(40).fill(true))).toThrow(
      /not finite in float16 at a loss scale of .*training\.precision: float32/,
    );
  });
});
