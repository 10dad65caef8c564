/** Methods on a mixture of experts: experts are adapted where they are named, and learn from their own tokens only. */
import { describe, expect, it } from "vitest";
import { full } from "../../src/methods/full.ts";
import { lora } from "../../src/methods/lora/lora.ts";
import { batchOf, openTinyModel, reference } from "../conformance/tiny-model.ts";

const folder = `${reference}families/mixtral`;
const batch = batchOf([[3, 5, 7, 9, 11, 13, 15, 17]]);
const once = { gradientScale: 1 / batch.targetLabels.length, seed: 0 };
const attach =
  (config: object) =>
  (target: Parameters<typeof lora.attach>[0]): ReturnType<typeof lora.attach> =>
    lora.attach(target, lora.configSchema.parse({ name: "lora", rank: 4, ...config }));

describe("LoRA", () => {
  it('leaves experts out of "all-linear"', async () => {
    const { method } = await openTinyModel({ folder, attach: attach({}) });
    expect(method.added.length).toBe(2 * 2 * 4);
    expect(method.added.filter(({ name }) => name.includes("experts"))).toEqual([]);
  });

  it("adapts one expert that is named", async () => {
    const { method } = await openTinyModel({ folder, attach: attach({ targetModules: ["q_proj", "experts.3.w2"] }) });
    expect(method.added.length).toBe(2 * 2 * 2);
  });

  it("says where names are those of experts only", async () => {
    await expect(openTinyModel({ folder, attach: attach({ targetModules: ["w1"] }) })).rejects.toThrow('"w1" matches no linear layer');
  });

  it("adapts experts that a pattern asks for", async () => {
    const { engine, method } = await openTinyModel({ folder, attach: attach({ targetModules: ".*experts.*(w1|w2)" }) });
    expect(method.added.length).toBe(2 * 2 * 4 * 2);
    const before = await engine.evaluate(batch);
    for (let step = 1; step <= 5; step++) {
      await engine.accumulate(batch, once);
      await engine.update({ learningRate: 1e-2, step, gradientScale: 1 });
    }
    expect((await engine.evaluate(batch)).lossSum).toBeLessThan(before.lossSum - 0.5);
  });
});

it("gives an expert without tokens a gradient of zeros", async () => {
  const { engine, store } = await openTinyModel({ folder, attach: (target) => full.attach(target) });
  // The last token's target is none, so that one token with two experts makes the loss of a sequence of two.
  const two = batchOf([[3, 5]]);
  await engine.accumulate(two, once);
  const norms = [0, 1, 2, 3].map((expert) => {
    const { gradient } = store.parameters.get(`model.layers.1.block_sparse_moe.experts.${expert}.w1.weight`)!;
    return Math.hypot(...gradient!);
  });
  expect(norms.filter((norm) => norm === 0).length).toBe(2);
  expect(norms.filter((norm) => norm > 0).length).toBe(2);
});
