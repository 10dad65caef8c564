/** What the engine says of the memory that its graphs need, which `train --dry-run` builds on. */
import { expect, it } from "vitest";
import type { Batch } from "../../src/data/batch.ts";
import type { AccumulateOptions } from "../../src/execution/engine.ts";
import { SegmentedTrainingEngine } from "../../src/execution/training-engine.ts";
import { lora } from "../../src/methods/lora/lora.ts";
import type { MethodTarget } from "../../src/methods/method.ts";
import { estimateRun } from "../../src/runs/estimate.ts";
import { batchOf, openTinyModel, reference } from "../conformance/tiny-model.ts";

const batch = batchOf([[5, 9, 2, 14, 7, 3, 21, 8]]);
const ofLora = (target: MethodTarget) => lora.attach(target, lora.configSchema.parse({ name: "lora", rank: 2 }));
const open = (options: object = {}) => openTinyModel({ folder: `${reference}families/llama`, attach: ofLora, ...options });

it("backward graphs keep theirs, and more where they make a block again; the others take turns", async () => {
  const [none, block] = await Promise.all(
    (["none", "block"] as const).map(async (activationCheckpointing) =>
      (await open({ activationCheckpointing })).engine.workingBytes(batch),
    ),
  );
  expect(none!.kept).toBeGreaterThan(0);
  expect(block!.kept).toBeGreaterThan(none!.kept);
  expect(block!.passing).toBe(none!.passing);
});

it("grows with a batch", async () => {
  const { engine } = await open();
  const [one, eight] = [await engine.workingBytes(batch), await engine.workingBytes(batchOf(Array(8).fill([5, 9, 2, 14, 7, 3, 21, 8])))];
  expect(eight.kept).toBeGreaterThan(2 * one.kept);
});

it("the prediction is what the first steps took and what is left of the run, split by what is known", async () => {
  const { engine, store } = await open();
  const long = batchOf([Array.from({ length: 256 }, (_, i) => i % 20)]);
  const taken: Batch[] = [];
  const run = {
    ...{ loaded: { store }, batchesForEpoch: () => [batch, long, batch] },
    engine: Object.assign(engine, {
      accumulate: (given: Batch, ...rest: [AccumulateOptions]) => {
        taken.push(given);
        return SegmentedTrainingEngine.prototype.accumulate.call(engine, given, ...rest);
      },
    }),
  };
  const { peakBytes, parts } = await estimateRun(run, { gradientAccumulationSteps: 1, peakMemoryBytes: () => 1e9 });
  // The largest is timed; short sequences have graphs of their own.
  expect(taken.map(({ tokens }) => tokens)).toEqual([256, 256, 256, 8]);
  expect(peakBytes).toBe(1e9 + parts["rest of the run"]!);
  expect(Object.values(parts).reduce((sum, bytes) => sum + bytes, 0)).toBeCloseTo(peakBytes);
  expect(parts["frozen weights"]).toBe(store.frozenBytes);
  expect(parts["trained weights and gradients"]).toBe(store.trainedBytes);
  const { kept, passing } = await engine.workingBytes(long);
  expect(parts["working memory"]).toBe(kept + passing);
});
