import { expect, test } from "vitest";
import { createRandom } from "../base/random.ts";
import { type DocumentLoss, pairedBootstrap } from "./paired-bootstrap.ts";

/** Documents of 1 to 60 tokens; the second model's loss differs per token by `shift` plus noise. */
function documents(count: number, { shift, noise, seed }: { shift: number; noise: number; seed: number }) {
  const random = createRandom(seed);
  const first: DocumentLoss[] = [];
  const second: DocumentLoss[] = [];
  for (let i = 0; i < count; i++) {
    const tokens = 1 + random.integer(60);
    const loss = 2 + random.normal();
    first.push({ lossSum: loss * tokens, tokens });
    second.push({ lossSum: (loss + shift + noise * random.normal()) * tokens, tokens });
  }
  return { first, second };
}

test("the difference weighs tokens, not documents", () => {
  const first = [
    { lossSum: 30, tokens: 10 },
    { lossSum: 2, tokens: 2 },
  ];
  const second = [
    { lossSum: 20, tokens: 10 },
    { lossSum: 4, tokens: 2 },
  ];
  expect(pairedBootstrap({ first, second }).difference).toBeCloseTo(-8 / 12, 12);
});

test("a constant gain has an interval without width, however much documents differ: pairing takes that away", () => {
  const result = pairedBootstrap(documents(50, { shift: -0.25, noise: 0, seed: 1 }));
  for (const value of [result.difference, result.low, result.high]) expect(value).toBeCloseTo(-0.25, 10);
});

test("the same seed gives the same interval, another seed nearly the same", () => {
  const data = documents(80, { shift: -0.1, noise: 0.5, seed: 2 });
  expect(pairedBootstrap({ ...data, seed: 5 })).toEqual(pairedBootstrap({ ...data, seed: 5 }));
  expect(pairedBootstrap({ ...data, seed: 6 }).low).toBeCloseTo(pairedBootstrap({ ...data, seed: 5 }).low, 1);
});

test("the width is the standard error's: 2 x 1.96 x noise / sqrt(n) where documents are equally long", () => {
  const random = createRandom(3);
  const first = Array.from({ length: 400 }, () => ({ lossSum: 0, tokens: 1 }));
  const second = first.map(() => ({ lossSum: random.normal(), tokens: 1 }));
  const { low, high } = pairedBootstrap({ first, second });
  expect((high - low) / ((2 * 1.96) / 20)).toBeGreaterThan(0.85);
  expect((high - low) / ((2 * 1.96) / 20)).toBeLessThan(1.15);
});

test("95% of intervals hold the true difference", () => {
  let held = 0;
  for (let trial = 0; trial < 200; trial++) {
    const { low, high } = pairedBootstrap({ ...documents(60, { shift: 0.3, noise: 1, seed: 1000 + trial }), resamples: 400, seed: trial });
    if (low <= 0.3 && 0.3 <= high) held++;
  }
  expect(held / 200).toBeGreaterThan(0.89);
  expect(held / 200).toBeLessThanOrEqual(0.99);
});
