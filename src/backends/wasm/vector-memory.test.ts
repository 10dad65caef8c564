import { describe, expect, it } from "vitest";
import { memoryOf, mostElements, VectorMemory } from "./vector-memory.ts";

describe("VectorMemory", () => {
  it("gives vectors of zeros that lie together and do not overlap", () => {
    const memory = new VectorMemory({ elements: 30, vectors: 3 });
    const vectors = [memory.vector(7), memory.vector(20), memory.vector(3)];
    for (const [i, vector] of vectors.entries()) vector.fill(i + 1);
    expect(vectors.map((vector) => [...new Set(vector)])).toEqual([[1], [2], [3]]);
    expect(memoryOf(vectors)?.buffer).toBe(vectors[0]!.buffer);
  });

  it("gives a vector elsewhere where there is no more room", () => {
    const memory = new VectorMemory({ elements: 10, vectors: 1 });
    const [first, second] = [memory.vector(10), memory.vector(100_000)];
    expect(second).toHaveLength(100_000);
    expect(memoryOf([first])).toBeDefined();
    expect(memoryOf([second])).toBeUndefined();
    expect(memoryOf([first, second])).toBeUndefined();
  });

  it("gives all vectors elsewhere where together they are more than a memory holds", () => {
    const vector = new VectorMemory({ elements: mostElements + 1, vectors: 1 }).vector(4);
    expect([...vector]).toEqual([0, 0, 0, 0]);
    expect(memoryOf([vector])).toBeUndefined();
  });
});
