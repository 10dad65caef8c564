import { describe, expect, it } from "vitest";
import { collate } from "../data/batches.ts";
import { createWeightPenalty, estimateFisher } from "./weight-penalty.ts";

const vector = (...parameters: number[]) => ({
  parameters: Float32Array.from(parameters),
  gradients: new Float32Array(parameters.length),
});

/** Vectors that are in the host's memory anyway. */
const held = (...vectors: ReturnType<typeof vector>[]) => ({
  sizes: vectors.map(({ parameters }) => parameters.length),
  onHost: async () => vectors,
});

describe("createWeightPenalty", () => {
  it("pulls by strength times distance, and adds to gradients that are there", async () => {
    const [a, b] = [vector(1, 2), vector(3)];
    const penalty = await createWeightPenalty({ trained: held(a, b), strength: 2 });
    expect(await penalty.addGradients()).toBe(0);
    a.parameters.set([1.5, 2]);
    b.parameters.set([2]);
    b.gradients.set([10]);
    expect(await penalty.addGradients()).toBe(0.25 + 1);
    expect([...a.gradients, ...b.gradients]).toEqual([1, 0, 8]);
  });

  it("pulls harder where the importance is greater; its gradient is the slope of its value", async () => {
    const x = vector(0, 0);
    const penalty = await createWeightPenalty({ trained: held(x), strength: 3, importance: [Float32Array.of(4, 0)] });
    const valueAt = (first: number): Promise<number> => {
      x.parameters.set([first, 5]);
      x.gradients.fill(0);
      return penalty.addGradients();
    };
    const slope = ((await valueAt(1.25)) - (await valueAt(0.75))) / 0.5;
    expect(await valueAt(1)).toBe(6);
    expect([...x.gradients]).toEqual([slope, 0]);
  });
});

describe("estimateFisher", () => {
  it("is the mean over documents of squared gradients, and leaves the accumulators empty", async () => {
    const x = vector(0, 0);
    const gradients = [
      [1, -2],
      [3, 0],
    ];
    let document = 0;
    const engine = {
      accumulate: async () => {
        x.gradients.set(gradients[document++]!);
        return { lossSum: 0, tokens: 1, correct: 0 };
      },
      discardGradients: () => x.gradients.fill(0) as unknown as undefined,
    };
    const example = { inputIds: Int32Array.of(1, 2), labels: Int32Array.of(1, 2) };
    const documents = [collate([[example]]), collate([[example]])];
    const [fisher] = await estimateFisher({ engine, trained: held(x), documents });
    expect([...fisher!]).toEqual([5, 2]);
    expect([...x.gradients]).toEqual([0, 0]);
  });
});
