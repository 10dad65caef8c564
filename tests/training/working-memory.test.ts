/** What the engine says of the memory that its graphs need, which `train --dry-run` builds on. */
import { expect, it } from "vitest";
import { lora } from "../../src/methods/lora/lora.ts";
import type { MethodTarget } from "../../src/methods/method.ts";
import { predictMemory } from "../../src/runs/estimate.ts";
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

it("predictMemory adds it to what is held", async () => {
  const { engine, store } = await open();
  await engine.accumulate(batch, { gradientScale: 1, seed: 1 });
  const parts = await predictMemory(engine, { store, batch });
  expect(parts["frozen weights"]).toBe(store.frozenBytes);
  expect(parts["trained weights and gradients"]).toBe(store.trainedBytes);
  const { kept, passing } = await engine.workingBytes(batch);
  expect(parts["working memory"]).toBe(2 * (kept + passing));
});
