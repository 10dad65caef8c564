/** Span corruption against an implementation over arrays, and what is drawn. */
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { createRandom } from "../../src/base/random.ts";
import { corruptSpans, countNoise, longestText, partition, replaceSpans, type SpanLengths } from "../../src/data/span-corruption.ts";
import { reference } from "./tiny-model.ts";

interface Fixture {
  vocabulary: number;
  eos: number;
  table: { noiseDensity: number; meanNoiseSpanLength: number; counts: number[][]; longest: number[][] }[];
  cases: { ids: number[]; lengths: SpanLengths; source: number[]; target: number[] }[];
}
const { vocabulary, eos, table, cases } = JSON.parse(readFileSync(`${reference}span-corruption/spans.json`, "utf8")) as Fixture;
const sentinels = Array.from({ length: 100 }, (_, i) => vocabulary - 1 - i);

describe("span corruption agrees with T5's", () => {
  it.each(table)("hides as much: $noiseDensity in spans of $meanNoiseSpanLength", ({ counts, longest, ...options }) => {
    for (const [length, hidden, spans] of counts) expect(countNoise(length!, options), `${length} tokens`).toEqual({ hidden, spans });
    for (const [maximum, length] of longest) expect(longestText(maximum!, options), `at most ${maximum}`).toBe(length);
  });

  it.each(cases.map((one) => [one.ids.length, one] as const))("source and target of %i tokens", (_, { ids, lengths, source, target }) => {
    const made = replaceSpans(Int32Array.from(ids), lengths, { sentinels, eos });
    expect([...made.source]).toEqual(source);
    expect([...made.target]).toEqual(target);
  });
});

describe("what is drawn", () => {
  it("cuts a number into parts in every way equally often", () => {
    const random = createRandom(3);
    const seen = new Map<string, number>();
    for (let i = 0; i < 6000; i++) {
      const parts = partition(5, 3, random).join(" ");
      seen.set(parts, (seen.get(parts) ?? 0) + 1);
    }
    expect([...seen.keys()].sort()).toEqual(["1 1 3", "1 2 2", "1 3 1", "2 1 2", "2 2 1", "3 1 1"]);
    // 1000 each are expected; the deviation is 29.
    for (const count of seen.values()) expect(Math.abs(count - 1000)).toBeLessThan(120);
  });

  const texts = [40, 2, 3].map((length, t) => Int32Array.from({ length }, (_, i) => 10 + 100 * t + i));
  const examples = texts.map((ids) => ({ encoderInputIds: ids, inputIds: ids, labels: ids }));
  const options = { noiseDensity: 0.15, meanNoiseSpanLength: 3, sentinels, eos, start: 0 };

  it("is the same for the same seed and epoch only", () => {
    const first = corruptSpans(examples, { seed: 1, epoch: 2 }, options);
    expect(corruptSpans(examples, { seed: 1, epoch: 2 }, options)).toEqual(first);
    expect(corruptSpans(examples, { seed: 1, epoch: 3 }, options)).not.toEqual(first);
    expect(corruptSpans(examples, { seed: 2, epoch: 2 }, options)).not.toEqual(first);
  });

  it("loses no token, and shifts the target behind the decoder's start", () => {
    for (const [i, { encoderInputIds, inputIds, labels }] of corruptSpans(examples, { seed: 5, epoch: 0 }, options).entries()) {
      expect([...inputIds]).toEqual([0, ...labels.slice(0, -1)]);
      expect(labels.at(-1)).toBe(eos);
      expect(encoderInputIds!.at(-1)).toBe(eos);
      const spans = new Map<number, number[]>();
      let open: number[];
      for (const id of labels.slice(0, -1)) {
        if (sentinels.includes(id)) {
          open = [];
          spans.set(id, open);
        } else open!.push(id);
      }
      const restored = [...encoderInputIds!.slice(0, -1)].flatMap((id) => spans.get(id) ?? [id]);
      expect(restored).toEqual([...texts[i]!]);
    }
  });
});
