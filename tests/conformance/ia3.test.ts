/** (IA)^3 against PEFT: loss, gradients, a training curve and the merged weights, from adapters that PEFT wrote. */
import { readdirSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { mergedParameter, unmergedParameter } from "../../src/execution/weights/adapter-files.ts";
import { ia3 } from "../../src/methods/ia3.ts";
import type { MethodTarget } from "../../src/methods/method.ts";
import { expectSummary, type Summary } from "./expect-summary.ts";
import { type CurveReference, expectCurve, openPeftCase, parameterOf, readReference } from "./peft-case.ts";
import { batchOf, openTinyModel, reference } from "./tiny-model.ts";

describe.each(readdirSync(`${reference}ia3`))("%s", (name) => {
  const folder = `${reference}ia3/${name}`;
  const expected = readReference<CurveReference & { merged: Record<string, Summary> }>(folder);

  it("agrees in loss, gradients and five training steps", async () => {
    const opened = await openPeftCase(folder);
    const ours = parameterOf(opened);
    const pick = (tensor: string, part: "values" | "gradient") => ours(tensor.replace("base_model.model.", ""), part);
    await expectCurve({ opened, expected, batch: batchOf(expected.inputIds), pick });
  });

  it("merges to the same weights, and back", async () => {
    const { store, method } = await openPeftCase(folder);
    for (const [tensor, summary] of Object.entries(expected.merged)) {
      const merged = mergedParameter({ name: tensor, store, method }).data;
      expectSummary(tensor, merged, summary, 1e-5);
      const stored = store.parameters.get(tensor)!.tensor.data as Float32Array;
      const base = Float32Array.from(stored);
      stored.set(merged);
      unmergedParameter({ name: tensor, store, method }).data.forEach((value, i) => expect(Math.abs(value - base[i]!)).toBeLessThan(1e-6));
    }
  });
});

describe("what (IA)^3 chooses", () => {
  const attach = (config: object) => (target: MethodTarget) => ia3.attach(target, ia3.configSchema.parse({ name: "ia3", ...config }));
  const open = (family: string, config: object) => openTinyModel({ folder: `${reference}families/${family}`, attach: attach(config) });
  const shapes = ({ method }: Awaited<ReturnType<typeof open>>) => method.added.slice(0, 3).map(({ name, shape }) => [name, ...shape]);

  it("by itself: keys, values and the MLP's way out", async () => {
    expect(shapes(await open("llama", {}))).toEqual([
      ["model.layers.0.self_attn.k_proj.ia3_l", 16, 1],
      ["model.layers.0.self_attn.v_proj.ia3_l", 16, 1],
      ["model.layers.0.mlp.down_proj.ia3_l", 1, 48],
    ]);
    expect(shapes(await open("gpt2", {})).slice(0, 2)).toEqual([
      ["transformer.h.0.attn.c_attn.ia3_l", 96, 1],
      ["transformer.h.0.mlp.c_proj.ia3_l", 1, 128],
    ]);
  });

  it("refuses names that match nothing, with the nearest", async () => {
    await expect(open("llama", { targetModules: ["k_pro"] })).rejects.toThrow(/method.targetModules: "k_pro".*Did you mean "k_proj"/);
    await expect(open("llama", { targetModules: ["k_proj", "v_proj"], feedforwardModules: ["down_proj"] })).rejects.toThrow(
      /method.feedforwardModules: "down_proj" matches no target module.*Known here: k_proj, v_proj/,
    );
  });
});
