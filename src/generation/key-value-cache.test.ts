import fc from "fast-check";
import { expect, test } from "vitest";
import type { HostTensor } from "../backends/backend.ts";
import { KeyValueCache, type LayerKeyValues } from "./key-value-cache.ts";

const shape = { layers: 2, heads: 2, headDim: 3 };

/** A row's tokens are numbers; its keys hold the number, its values the negative. */
function layersOf(rows: readonly (readonly number[])[]): LayerKeyValues[] {
  const tokens = Math.max(...rows.map((row) => row.length));
  const tensor = (layer: number, sign: number): HostTensor => ({
    dtype: "float32",
    dims: [rows.length, shape.heads, tokens, shape.headDim],
    data: Float32Array.from(
      rows.flatMap((row) =>
        Array.from({ length: shape.heads }, (_, head) =>
          Array.from({ length: tokens }, (_, t) =>
            Array.from({ length: shape.headDim }, () => sign * ((row[t] ?? 0) + 1000 * layer + 100 * head)),
          ),
        ).flat(2),
      ),
    ),
  });
  return Array.from({ length: shape.layers }, (_, layer) => ({ key: tensor(layer, 1), value: tensor(layer, -1) }));
}

/** The tokens of every place, read back from a layer and a head. */
function tokensIn(cache: KeyValueCache, layer: number, head: number): number[][] {
  const { key, value } = cache.read(layer);
  const [rows, heads, capacity, D] = key.dims as [number, number, number, number];
  return Array.from({ length: rows }, (_, row) =>
    Array.from({ length: cache.lengths[row]! }, (_, t) => {
      const at = ((row * heads + head) * capacity + t) * D;
      const token = (key.data as Float32Array)[at + D - 1]!;
      expect((value.data as Float32Array)[at]).toBe(-token);
      return token - 1000 * layer - 100 * head;
    }),
  );
}

test("whatever goes on, grows or ends, every row holds its own tokens", () => {
  const step = fc.record({
    choices: fc.array(fc.nat(), { minLength: 1, maxLength: 5 }),
    counts: fc.array(fc.nat(70), { minLength: 5, maxLength: 5 }),
  });
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 4 }), fc.array(step, { maxLength: 6 }), (rows, steps) => {
      const cache = new KeyValueCache(shape);
      cache.begin(rows, layersOf([[7, 8]]));
      let held = Array.from({ length: rows }, () => [7, 8]);
      let next = 10;
      for (const { choices, counts } of steps) {
        const parents = choices.map((choice) => choice % held.length);
        const places = cache.reorder(parents);
        expect([...places].sort()).toEqual([...parents.keys()]);
        const moved: number[][] = [];
        for (const [i, place] of places.entries()) moved[place] = [...held[parents[i]!]!];
        const added = moved.map((_, place) => Array.from({ length: counts[place]! }, () => next++ % 90));
        cache.reserve(Math.max(...moved.map((row) => row.length)) + Math.max(...added.map((row) => row.length)));
        cache.append(
          layersOf(added),
          added.map((row) => row.length),
        );
        held = moved.map((row, place) => [...row, ...added[place]!]);
      }
      for (const [layer, head] of [
        [0, 0],
        [1, 1],
      ] as const)
        expect(tokensIn(cache, layer, head)).toEqual(held);
    }),
    { numRuns: 60 },
  );
});

test("a row that goes on stays where it is", () => {
  const cache = new KeyValueCache(shape);
  cache.begin(4, []);
  expect(cache.reorder([2, 0, 2, 1])).toEqual([2, 0, 3, 1]);
  expect(cache.reorder([3, 1])).toEqual([0, 1]);
});
