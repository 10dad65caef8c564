import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { indicesOfLargest } from "../../base/largest.ts";
import { largestFirst } from "../../base/largest-first.ts";
import { createRandom } from "../../base/random.ts";
import { processLogits, type SamplingOptions, sampleToken } from "./sample-token.ts";
import { exponentials } from "./softmax.ts";

const reference = JSON.parse(
  readFileSync(new URL("../../../tests/conformance/reference/generation/processors.json", import.meta.url), "utf8"),
) as {
  logits: number[][];
  endTokens: number[];
  promptTokens: number;
  cases: { options: SamplingOptions; inputIds: number[][]; processed: (number | null)[][]; probabilities: number[][] }[];
};

describe("as transformers", () => {
  test.each(reference.cases.map((one) => [JSON.stringify(one.options), one] as const))(
    "%s",
    (_, { options, inputIds, processed, probabilities }) => {
      for (const [row, logits] of reference.logits.entries()) {
        const context = { previousTokens: inputIds[row]!, promptLength: reference.promptTokens, eosTokenIds: reference.endTokens };
        const ours = processLogits(Float32Array.from(logits), { ...options, ...context });
        for (const [token, expected] of processed[row]!.entries()) {
          if (expected === null) expect(ours[token]).toBe(Number.NEGATIVE_INFINITY);
          else expect(ours[token]).toBeCloseTo(expected, 5);
        }
        const { weights, sum } = exponentials(ours);
        for (const [token, expected] of probabilities[row]!.entries()) expect(weights[token]! / sum).toBeCloseTo(expected, 5);
      }
    },
  );
});

test("the heap is a sort: larger first, lower index among equals, minus infinity left out", () => {
  fc.assert(
    fc.property(fc.array(fc.constantFrom(Number.NEGATIVE_INFINITY, -2, -1, 0, 0.5, 3), { maxLength: 40 }), (list) => {
      const values = Float32Array.from(list);
      const sorted = list.map((_, i) => i).filter((i) => values[i]! > Number.NEGATIVE_INFINITY);
      sorted.sort((a, b) => values[b]! - values[a]! || a - b);
      expect([...largestFirst(values)]).toEqual(sorted);
    }),
  );
});

test("the few largest are those of a sort", () => {
  fc.assert(
    fc.property(fc.array(fc.constantFrom(Number.NEGATIVE_INFINITY, -2, -1, 0, 0.5, 3), { maxLength: 40 }), fc.nat(9), (list, count) => {
      const values = Float32Array.from(list);
      expect(indicesOfLargest(values, count + 1)).toEqual([...largestFirst(values)].slice(0, count + 1));
    }),
  );
});

test("temperature 0 is greedy, draws nothing and still heeds the repetition penalty", () => {
  const random = {
    next(): number {
      throw new Error("must not draw");
    },
  };
  const logits = Float32Array.of(1, 3, 2.9);
  expect(sampleToken(logits, { temperature: 0, random })).toBe(1);
  expect(sampleToken(logits, { temperature: 0, repetitionPenalty: 1.5, previousTokens: [1], random })).toBe(2);
  expect([...logits]).toEqual([...Float32Array.of(1, 3, 2.9)]);
});

test("tokens are drawn as often as softmax says", () => {
  const logits = Float32Array.from([0, 1, 2, Number.NEGATIVE_INFINITY]);
  const random = createRandom(7);
  const counts = [0, 0, 0, 0];
  for (let i = 0; i < 20_000; i++) counts[sampleToken(logits, { random })]!++;
  const total = 1 + Math.E + Math.E ** 2;
  expect(counts[3]).toBe(0);
  for (const [i, share] of [1 / total, Math.E / total, Math.E ** 2 / total].entries()) expect(counts[i]! / 20_000).toBeCloseTo(share, 1.7);
});

test("the same seed draws the same tokens, from a vocabulary of 150,000", () => {
  const source = createRandom(1);
  const logits = Float32Array.from({ length: 150_000 }, () => source.normal());
  const draw = (): number[] => {
    const random = createRandom(3);
    return Array.from({ length: 5 }, () => sampleToken(logits, { temperature: 0.8, topK: 50, topP: 0.9, minP: 0.01, random }));
  };
  expect(draw()).toEqual(draw());
});

test("a random number next to 1 still draws an allowed token", () => {
  expect(sampleToken(Float32Array.of(0, 0, -40), { topK: 2, random: { next: () => 1 - 2 ** -53 } })).toBe(1);
});

test("bad options and bad logits say what to do", () => {
  const random = createRandom(0);
  expect(() => sampleToken(Float32Array.of(1, 2), { topP: 1.5, random })).toThrow(/topP is 1.5.*together reach/s);
  expect(() => sampleToken(Float32Array.of(1, 2), { topK: 2.5, random })).toThrow(/topK is 2.5/);
  expect(() => sampleToken(Float32Array.of(1, Number.NaN), { random })).toThrow(/logit 1 is NaN/);
  expect(() => sampleToken(Float32Array.of(1, Number.NaN), { temperature: 0, random })).toThrow(/diverge/);
  expect(() => sampleToken(new Float32Array(2).fill(Number.NEGATIVE_INFINITY), { random })).toThrow(/largest of 2 logits/);
});
