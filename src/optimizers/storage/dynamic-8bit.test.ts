import { describe, expect, it } from "vitest";
import { createRandom } from "../../base/random.ts";
import { BlockCoder, signedMap, unsignedMap } from "./dynamic-8bit.ts";

const encoded = (numbers: Float32Array, map: typeof signedMap) => {
  const into = { codes: new Uint8Array(numbers.length), absmax: new Float32Array(Math.ceil(numbers.length / 256)) };
  new BlockCoder(map).encode(numbers, into);
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

  it.each([
    { name: "signed", map: signedMap, sign: 1 },
    { name: "signed, negative", map: signedMap, sign: -1 },
    { name: "unsigned", map: unsignedMap, sign: 1 },
  ])("$name: every 251st float32 from 0 to 1 takes the nearest value, and so do the neighbours of every middle", ({ map, sign }) => {
    const bitsOf = (x: number): number => new Uint32Array(Float32Array.of(x).buffer)[0]!;
    const byMiddles = [...map.middles].filter((x) => Math.abs(x) < 1).flatMap((x) => [-1, 0, 1].map((step) => bitsOf(Math.abs(x)) + step));
    const bits = Uint32Array.from([...Array.from({ length: Math.ceil(0x3f800000 / 251) }, (_, i) => 251 * i), ...byMiddles]).sort();
    const magnitudes = new Float32Array(bits.buffer);
    // A one in front of every 255 keeps the scale of a block.
    const numbers = Float32Array.from({ length: Math.ceil((magnitudes.length * 256) / 255) }, (_, i) =>
      i % 256 === 0 ? 1 : sign * magnitudes[Math.min(magnitudes.length - 1, i - Math.floor(i / 256) - 1)]!,
    );
    const { codes } = encoded(numbers, map);
    let nearest = map.values.indexOf(0);
    let wrong = 0;
    for (let i = 0; i < numbers.length; i++) {
      if (i % 256 === 0) continue;
      const x = numbers[i]!;
      while (x > map.middles[nearest]!) nearest++;
      while (nearest > 0 && x <= map.middles[nearest - 1]!) nearest--;
      if (codes[i] !== nearest) wrong++;
    }
    expect(wrong).toBe(0);
  });

  /** What the coding does, step by step: the largest of each block, a product in float32, bisection. */
  function straightforward(numbers: Float32Array, { middles }: typeof signedMap): Uint8Array {
    const codes = new Uint8Array(numbers.length);
    for (let start = 0; start < numbers.length; start += 256) {
      const block = numbers.subarray(start, start + 256);
      const largest = block.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
      const scale = largest === 0 ? 0 : Math.fround(1 / largest);
      codes.set(
        block.map((x) => search(Math.fround(x * scale), middles)),
        start,
      );
    }
    return codes;
  }

  function search(x: number, middles: Float32Array): number {
    let [low, high] = [0, 255];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (x > middles[middle]!) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  it.each([
    { name: "signed", map: signedMap, sign: 0x8000 },
    { name: "unsigned", map: unsignedMap, sign: 0 },
  ])("$name: finds what a search finds, of every upper half of a finite float32", ({ map, sign }) => {
    const random = createRandom(9);
    const finite = Array.from({ length: 0x7f80 }, (_, upper) => upper);
    const uppers = [...finite, ...(sign ? finite.map((upper) => upper | sign) : [])];
    const bits = uppers.flatMap((upper) =>
      [0, 1, 0x7fff, 0x8000, 0xffff, random.integer(0x10000)].map((lower) => ((upper << 16) | lower) >>> 0),
    );
    const byMagnitude = new Float32Array(Uint32Array.from(bits).buffer);
    const shuffled = Float32Array.from(byMagnitude);
    for (let i = shuffled.length - 1; i > 0; i--) {
      const j = random.integer(i + 1);
      [shuffled[i], shuffled[j]] = [shuffled[j]!, shuffled[i]!];
    }
    const upToOne = [...byMagnitude, ...map.middles].filter((x) => Math.abs(x) <= 1);
    const withOnes = Float32Array.from(upToOne.flatMap((x, i) => (i % 255 === 0 ? [1, x] : [x])));
    // One over the largest of a block has to be a number.
    for (const numbers of [byMagnitude.filter((x) => Math.abs(x) >= 2 ** -126), shuffled, withOnes])
      expect(Buffer.compare(encoded(numbers, map).codes, straightforward(numbers, map))).toBe(0);
  });

  it("works on numbers where it decoded them", () => {
    const coder = new BlockCoder(signedMap);
    const blocks = encoded(Float32Array.of(4, -2, 1), signedMap);
    const numbers = coder.decode(blocks);
    const before = [...numbers];
    for (let i = 0; i < numbers.length; i++) numbers[i]! *= 2;
    coder.encode(numbers, blocks);
    expect(blocks.absmax[0]).toBe(8);
    expect([...coder.decode(blocks)]).toEqual(before.map((x) => 2 * x));
  });

  it("keeps blocks of zeros, the largest of a block, and a last block that is not full", () => {
    const numbers = new Float32Array(300);
    numbers[299] = -7.5;
    const blocks = encoded(numbers, signedMap);
    const found = new BlockCoder(signedMap).decode(blocks);
    expect([...blocks.absmax]).toEqual([0, 7.5]);
    expect(found.subarray(0, 299).every((x) => x === 0)).toBe(true);
    expect(found[299]).toBeCloseTo(-7.5 * 0.993, 2);
  });
});
