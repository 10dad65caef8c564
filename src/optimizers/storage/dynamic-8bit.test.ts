import { describe, expect, it } from "vitest";
import { createRandom } from "../../base/random.ts";
import { decode, encode, signedMap, unsignedMap } from "./dynamic-8bit.ts";

const encoded = (numbers: Float32Array, map: typeof signedMap) => {
  const into = { codes: new Uint8Array(numbers.length), absmax: new Float32Array(Math.ceil(numbers.length / 256)) };
  encode(numbers, map, into);
  return into;
};

describe("dynamic 8-bit storage", () => {
  it.each([
    { name: "signed", map: signedMap, low: -1 },
    { name: "unsigned", map: unsignedMap, low: 0 },
  ])("$name: every element takes the nearest value", ({ map, low }) => {
    const random = createRandom(5);
    // Magnitudes from 1e-9 to 1, and every middle between two values.
    const drawn = Array.from({ length: 20_000 }, () => (low + (1 - low) * random.next()) * 10 ** (-9 * random.next()));
    const numbers = Float32Array.from([...drawn, ...map.middles.subarray(0, 255)].flatMap((x, i) => (i % 255 === 0 ? [1, x] : [x])));
    const { codes } = encoded(numbers, map);
    const passed = (x: number): number => map.middles.filter((middle) => middle < x).length;
    expect(codes).toEqual(Uint8Array.from(numbers, passed));
  });

  it("keeps blocks of zeros, the largest of a block, and a last block that is not full", () => {
    const numbers = new Float32Array(300);
    numbers[299] = -7.5;
    const blocks = encoded(numbers, signedMap);
    const found = new Float32Array(300);
    decode(blocks, signedMap, found);
    expect([...blocks.absmax]).toEqual([0, 7.5]);
    expect(found.subarray(0, 299).every((x) => x === 0)).toBe(true);
    expect(found[299]).toBeCloseTo(-7.5 * 0.993, 2);
  });
});
