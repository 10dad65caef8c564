import { describe, expect, it } from "vitest";
import { Graph } from "../../tensor/graph.ts";
import { interpret } from "../../tensor/interpret.ts";
import { distanceBuckets, relativeBias, relativeBucket } from "./relative-bias.ts";

describe("relative buckets", () => {
  // transformers' T5Attention._relative_position_bucket with 32 buckets and a greatest distance of 128.
  const distances = [-200, -128, -127, -64, -32, -16, -9, -8, -7, -1, 0, 1, 7, 8, 9, 16, 32, 64, 127, 128];
  it("grow logarithmically on both sides", () => {
    const rule = { numBuckets: 32, maxDistance: 128, isBidirectional: true };
    expect(distances.map((distance) => relativeBucket(distance, rule))).toEqual([
      15, 15, 15, 14, 12, 10, 8, 8, 7, 1, 0, 17, 23, 24, 24, 26, 28, 30, 31, 31,
    ]);
  });
  it("look back only where the future is hidden", () => {
    const rule = { numBuckets: 32, maxDistance: 128, isBidirectional: false };
    expect(distances.map((distance) => relativeBucket(distance, rule))).toEqual([
      31, 31, 31, 26, 21, 16, 9, 8, 7, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    ]);
  });
});

describe("relative bias", () => {
  it.each([
    [3, 3],
    [2, 5],
    [1, 4],
    [1, 1],
  ])("gives %i queries at the end of %i keys the bias of their distance", (queries, keys) => {
    const graph = new Graph();
    const numBuckets = queries + keys;
    const table = graph.input("table", { dtype: "float32", shape: [numBuckets, 2] });
    const buckets = graph.input("buckets", { dtype: "int64", shape: [queries + keys] });
    graph.output("bias", relativeBias({ table, buckets: buckets, queries, keys }));
    // Bucket = distance + keys - 1, so that the table shows which distance was looked up.
    const indices = distanceBuckets({ queries, keys }, (distance) => distance + keys - 1);
    const { bias } = interpret(graph, {
      table: {
        shape: [numBuckets, 2],
        data: Float64Array.from({ length: 2 * numBuckets }, (_, i) => (i % 2 === 0 ? 1 : 10) * (Math.floor(i / 2) - keys + 1)),
      },
      buckets: { shape: [queries + keys], data: Float64Array.from(indices) },
    });
    const expected = [1, 10].flatMap((factor) =>
      Array.from({ length: queries }, (_, t) => Array.from({ length: keys }, (_unused, k) => factor * (k - (keys - queries + t)))).flat(),
    );
    expect(bias!.shape).toEqual([2, queries, keys]);
    expect([...bias!.data].map((value) => value + 0)).toEqual(expected.map((value) => value + 0));
  });
});
