/** Adapter layers against AdapterHub's library: loss, gradients, a training curve, and the files both ways. */
import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { encodeAdapter, readAdapter } from "../../src/execution/weights/adapter-files.ts";
import { bottleneck } from "../../src/methods/bottleneck.ts";
import type { MethodTarget } from "../../src/methods/method.ts";
import { openSafetensors } from "../../src/models/weights/safetensors.ts";
import { openFolder } from "../../src/platform/node/files.ts";
import { expectCurve, openPeftCase, parameterOf, readReference } from "./peft-case.ts";
import { batchOf, openTinyModel, reference } from "./tiny-model.ts";

describe.each(readdirSync(`${reference}bottleneck`))("%s", (name) => {
  const folder = `${reference}bottleneck/${name}`;
  const expected = readReference(folder);

  it("agrees in loss, gradients and five training steps", async () => {
    const opened = await openPeftCase(folder);
    await expectCurve({ opened, expected, batch: batchOf(expected.inputIds), pick: parameterOf(opened) });
  });

  it("trains what AdapterHub trains, and writes its names and options", async () => {
    const opened = await openPeftCase(folder);
    expect(opened.method.added.map(({ name: own }) => own).sort()).toEqual(Object.keys(expected.gradients).sort());
    const file = await openSafetensors(await openFolder(`${folder}/adapter`).open("adapter.safetensors"));
    expect([...file.tensors.keys()].sort()).toEqual(opened.method.added.map(({ name: own }) => own).sort());
    const theirs = JSON.parse(readFileSync(`${folder}/adapter/adapter_config.json`, "utf8"));
    const written = encodeAdapter({ ...opened, baseModel: theirs.model_name });
    expect(Object.keys(written)).toEqual(["adapter_config.json", "adapter.safetensors"]);
    const { config, ...rest } = JSON.parse(written["adapter_config.json"] as string);
    const free = new Set(["init_weights"]); // how it once began
    for (const key of Object.keys(config)) if (!free.has(key)) expect(config[key], key).toEqual(theirs.config[key]);
    for (const key of Object.keys(rest)) expect(rest[key], key).toEqual(theirs[key]);
    // Python takes a whole number for an integer, and the library refuses integers as factors.
    expect(written["adapter_config.json"]).toMatch(/"scaling": \d+\.0,\n/);
  });
});

describe("adapter layers", () => {
  const open = (config: object) =>
    openTinyModel({
      folder: `${reference}families/llama`,
      attach: (target: MethodTarget) => bottleneck.attach(target, bottleneck.configSchema.parse({ name: "bottleneck", ...config })),
    });
  const size = async (config: object) =>
    (await open(config)).method.added.reduce((sum, { shape }) => sum + shape.reduce((product, n) => product * n, 1), 0);

  it("have two matrices and two biases for each place", async () => {
    const each = (inner: number) => 2 * 32 * inner + inner + 32;
    expect(await size({})).toBe(2 * each(2));
    expect(await size({ architecture: "houlsby", reductionFactor: 8 })).toBe(4 * each(4));
    expect(await size({ architecture: "parallel" })).toBe(2 * each(16));
    expect(await size({ reductionFactor: 100, leaveOut: [1] })).toBe(each(1));
  });

  it("drop out only in training, and otherwise on every step", async () => {
    const { engine, store } = await open({ dropout: 0.5, initWeights: "bert" });
    for (const { tensor, gradient } of store.parameters.values())
      if (gradient)
        (tensor.data as Float32Array).forEach((_, i, data) => {
          data[i] = Math.sin(i);
        });
    const batch = batchOf([[1, 2, 3, 4, 5, 6, 7, 8]]);
    const losses = [
      (await engine.evaluate(batch)).lossSum,
      (await engine.evaluate(batch)).lossSum,
      (await engine.accumulate(batch, { gradientScale: 1, seed: 1 })).lossSum,
      (await engine.accumulate(batch, { gradientScale: 1, seed: 2 })).lossSum,
    ];
    expect(losses[0]).toBe(losses[1]);
    expect(new Set(losses).size).toBe(3);
  });

  it("start near the base with AdapterHub's own weights", async () => {
    const batch = batchOf([[1, 2, 3, 4, 5, 6, 7, 8]]);
    const exact = (await (await open({})).engine.evaluate(batch)).lossSum;
    const near = (await (await open({ initWeights: "bert" })).engine.evaluate(batch)).lossSum;
    expect(near).not.toBe(exact);
    expect(Math.abs(near / exact - 1)).toBeLessThan(1e-2);
  });

  it("refuse what cannot be", async () => {
    await expect(open({ leaveOut: [2] })).rejects.toThrow(/method.leaveOut: 2 is not a layer of this model; it has 0 to 1/);
    await expect(open({ outputAdapter: false })).rejects.toThrow(/nothing to train/);
    const folder = openFolder(`${reference}bottleneck/llama-houlsby/adapter`);
    const changed = (change: object) => ({
      ...folder,
      name: "changed",
      list: () => folder.list(),
      has: (file: string) => folder.has(file),
      open: (file: string) => folder.open(file),
      async readText(file: string) {
        const json = JSON.parse(await folder.readText(file));
        return JSON.stringify({ ...json, config: { ...json.config, ...change } });
      },
    });
    await expect(readAdapter(changed({ phm_layer: true }))).rejects.toThrow(/phm_layer true is not supported; expected false/);
    await expect(readAdapter(changed({ scaling: "learned" }))).rejects.toThrow(/scaling "learned" is not supported; expected a number/);
    await expect(readAdapter(changed({ architecture: "reft" }))).rejects.toThrow(
      /the adapter type "adapterhub:reft" is not supported; known: .*IA3/,
    );
  });
});
