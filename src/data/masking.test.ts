import { describe, expect, it } from "vitest";
import { ignoredLabel, type TokenizedExample } from "./batch.ts";
import { type MaskingOptions, maskTokens } from "./masking.ts";

// Ids below 5 are special, 4 is the mask; odd ids go on the word before them.
const tokenizer: MaskingOptions["tokenizer"] = { maskTokenId: 4, isSpecial: (id) => id < 5, continuesWord: (id) => id % 2 === 1 };
const options = { probability: 0.15, wholeWords: false, tokenizer, vocabSize: 1000 };
const ids = Int32Array.of(1, ...Array.from({ length: 2000 }, (_, i) => 5 + (i % 400)), 2);
const example: TokenizedExample = { inputIds: ids, labels: ids };
const [masked] = maskTokens([example], { seed: 1, epoch: 0 }, options) as [TokenizedExample];
const places = (of: TokenizedExample): number[] => [...of.labels.keys()].filter((i) => of.labels[i] !== ignoredLabel);

describe("masking", () => {
  it("hides 15% of the tokens, of which about 80% become the mask, 10% another token, 10% stay", () => {
    const chosen = places(masked);
    expect(chosen.length).toBe(300);
    for (const i of chosen) expect(masked.labels[i]).toBe(ids[i]);
    const masks = chosen.filter((i) => masked.inputIds[i] === 4).length;
    const kept = chosen.filter((i) => masked.inputIds[i] === ids[i]).length;
    // Binomial with n = 300: four standard deviations are 28 and 21.
    expect(Math.abs(masks - 240)).toBeLessThan(28);
    expect(Math.abs(kept - 30)).toBeLessThan(21);
    expect(chosen.length - masks - kept).toBeGreaterThan(9);
  });

  it("leaves everything else as it is, special tokens above all", () => {
    const chosen = new Set(places(masked));
    ids.forEach((id, i) => {
      if (!chosen.has(i)) expect(masked.inputIds[i]).toBe(id);
    });
    expect(chosen.has(0) || chosen.has(ids.length - 1)).toBe(false);
  });

  it("is the same for the same seed and epoch, and another in the next", () => {
    const again = maskTokens([example], { seed: 1, epoch: 0 }, options)[0]!;
    expect(again.inputIds).toEqual(masked.inputIds);
    expect(places(maskTokens([example], { seed: 1, epoch: 1 }, options)[0]!)).not.toEqual(places(masked));
  });

  it("hides whole words", () => {
    const whole = maskTokens([example], { seed: 1, epoch: 0 }, { ...options, wholeWords: true })[0]!;
    const chosen = new Set(places(whole));
    expect(Math.abs(chosen.size - 300)).toBeLessThanOrEqual(1);
    // A word here is an even id with the odd one behind it.
    for (const i of chosen) expect(chosen.has(ids[i]! % 2 === 1 ? i - 1 : i + 1) || i === 1).toBe(true);
  });

  it("hides one token of the shortest text", () => {
    const short = { inputIds: Int32Array.of(1, 6, 2), labels: Int32Array.of(1, 6, 2) };
    expect(places(maskTokens([short], { seed: 3, epoch: 0 }, options)[0]!)).toEqual([1]);
  });
});
