/** Every registered method on a tiny GPT-2 (joint projections, Conv1D, biases) and a tiny Llama: what all of them must keep. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { encodeAdapter, readAdapter } from "../../src/execution/adapter-files.ts";
import { untouched } from "../../src/execution/loaded-model.ts";
import type { Method } from "../../src/methods/method.ts";
import { methods } from "../../src/methods/registry.ts";
import { openFolder, writeFileAtomic } from "../../src/platform/node/files.ts";
import { batchOf, openTinyModel, reference } from "../conformance/tiny-model.ts";

const folder = mkdtempSync(join(tmpdir(), "tunesmith-methods-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** What a method needs beside its name here. */
const needed: Readonly<Record<string, object>> = {
  freeze: { trainable: ["*.1.*"] },
};
/** Methods that the paper does not start at the base model. */
const startElsewhere = new Set<string>([]);
/** Methods that have nothing to train in Llama, which has no biases. */
const notInLlama = new Set<string>([]);

const batch = batchOf([
  [3, 5, 7, 9, 11, 13, 15, 17],
  [20, 21, 22, 23, 24, 25, 26, 27],
]);
const cases = (methods as readonly Method[]).flatMap((method) =>
  ["gpt2", "llama"].filter((family) => family !== "llama" || !notInLlama.has(method.name)).map((family) => ({ method, family })),
);

describe.each(cases)("$method.name on $family", ({ method, family }) => {
  const config = method.configSchema.parse({ name: method.name, ...needed[method.name] });
  const open = (learningRate = 1e-2) =>
    openTinyModel({
      folder: `${reference}families/${family}`,
      attach: (target) => method.attach(target, config),
      optimizer: { learningRate },
    });
  const step = async ({ engine }: Awaited<ReturnType<typeof open>>, number: number): Promise<number> => {
    const { lossSum, tokens } = await engine.accumulate(batch, { gradientScale: 1 / batch.targetLabels.length, seed: number });
    await engine.update({ learningRate: 1e-2, step: number, gradientScale: 1 });
    return lossSum / tokens;
  };
  const loss = async ({ engine }: Awaited<ReturnType<typeof open>>): Promise<number> => {
    const { lossSum, tokens } = await engine.evaluate(batch);
    return lossSum / tokens;
  };

  it.skipIf(startElsewhere.has(method.name))("starts at the base model", async () => {
    const base = await openTinyModel({ folder: `${reference}families/${family}`, attach: () => untouched });
    expect(await loss(await open())).toBeCloseTo(await loss(base), 5);
  });

  it("learns, and moves only what it trains", async () => {
    const opened = await open();
    const before = new Map(
      [...opened.store.parameters].map(([name, { tensor }]) => [name, Float32Array.from(tensor.data as Float32Array)]),
    );
    const first = await loss(opened);
    for (let i = 1; i <= 5; i++) await step(opened, i);
    expect(await loss(opened)).toBeLessThan(first);
    const moved = [...opened.store.parameters].filter(([name, { tensor }]) =>
      (tensor.data as Float32Array).some((value, i) => value !== before.get(name)![i]),
    );
    expect(moved.length).toBeGreaterThan(0);
    expect(moved.filter(([name]) => !opened.method.trains(name)).map(([name]) => name)).toEqual([]);
  });

  it("comes back from its files", async () => {
    const opened = await open();
    if (!opened.method.adapter) return; // it trains the base's own weights, which are written whole
    for (let i = 1; i <= 3; i++) await step(opened, i);
    const path = join(folder, `${method.name}-${family}`);
    for (const [file, content] of Object.entries(encodeAdapter({ ...opened, baseModel: family })))
      await writeFileAtomic(join(path, file), content);
    const adapter = await readAdapter(openFolder(path));
    const again = await openTinyModel({
      folder: `${reference}families/${family}`,
      attach: (target) => adapter.method.attach(target, adapter.config),
    });
    adapter.loadInto(again.store, again.method);
    expect(await loss(again)).toBeCloseTo(await loss(opened), 5);
    const other = await openTinyModel({
      folder: `${reference}families/llama-bias`,
      attach: (target) => adapter.method.attach(target, adapter.config),
    }).catch((error: Error) => error);
    if (other instanceof Error) expect(other.message).toMatch(/method\./);
    else expect(() => adapter.loadInto(other.store, other.method)).toThrow(/does not fit this base model/);
  });
});
