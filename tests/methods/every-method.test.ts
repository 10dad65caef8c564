/** Every registered method on a tiny decoder with joint projections and biases, one without, one with experts, encoders and encoder-decoders: what all of them must keep. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { createRandom } from "../../src/base/random.ts";
import { collate } from "../../src/data/batches.ts";
import { sameToken } from "../../src/data/collators.ts";
import { untouched } from "../../src/execution/loaded-model.ts";
import { encodeAdapter, mergedParameter, readAdapter } from "../../src/execution/weights/adapter-files.ts";
import type { WeightSource } from "../../src/execution/weights/checkpoint-weights.ts";
import { loadParameters } from "../../src/execution/weights/parameter-store.ts";
import type { AttachedMethod, Method, MethodTarget } from "../../src/methods/method.ts";
import { methods } from "../../src/methods/registry.ts";
import { createModel } from "../../src/models/families/registry.ts";
import { describeModel } from "../../src/models/segments.ts";
import { openFolder, writeFileAtomic } from "../../src/platform/node/files.ts";
import { batchOf, openTinyModel, reference } from "../conformance/tiny-model.ts";

const folder = mkdtempSync(join(tmpdir(), "tunesmith-methods-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** What a method needs beside its name here. */
const needed: Readonly<Record<string, object>> = {
  freeze: { trainable: ["*.1.*"] },
  "new-tokens": { tokens: [7, 21] },
};
/** Methods that the paper does not start at the base model. */
const startElsewhere = new Set<string>(["prompt-tuning", "p-tuning", "prefix-tuning"]);
/** Methods that have nothing to train in models without biases. */
const needsBiases = new Set<string>(["bitfit"]);

const row = (...ids: number[]): Int32Array => Int32Array.from(ids);
const next = batchOf([
  [3, 5, 7, 9, 11, 13, 15, 17],
  [20, 21, 22, 23, 24, 25, 26, 27],
]);
const hidden = collate(
  [
    [{ inputIds: row(3, 5, 9, 11, 13, 15, 2), labels: row(-100, 6, -100, 12, -100, 15, -100) }],
    [{ inputIds: row(3, 8, 7, 2), labels: row(-100, 8, 9, -100) }],
  ],
  sameToken,
);
const pairs = collate(
  [
    [{ inputIds: row(0, 5, 9, 11), labels: row(5, 9, 11, 1), encoderInputIds: row(7, 8, 9, 10, 12, 1) }],
    [{ inputIds: row(0, 8), labels: row(8, 1), encoderInputIds: row(30, 31, 1) }],
  ],
  sameToken,
);
/** One of each kind, and what makes it twice as wide. */
const bases = [
  { family: "gpt2", folder: "families/gpt2", batch: next, wider: { n_embd: 64 } },
  {
    family: "llama",
    folder: "families/llama",
    batch: next,
    wider: { hidden_size: 64, head_dim: 16, intermediate_size: 96 },
    hasNoBiases: true,
  },
  {
    family: "qwen3_moe",
    folder: "families/qwen3_moe",
    batch: next,
    wider: { hidden_size: 64, head_dim: 16, moe_intermediate_size: 40, intermediate_size: 96 },
    hasNoBiases: true,
  },
  { family: "bert", folder: "encoders/bert", batch: hidden, wider: { hidden_size: 64, intermediate_size: 96 } },
  { family: "distilbert", folder: "encoders/distilbert", batch: hidden, wider: { dim: 64, hidden_dim: 96 } },
  { family: "modernbert", folder: "encoders/modernbert", batch: hidden, wider: { hidden_size: 64, intermediate_size: 48 } },
  { family: "t5", folder: "encoder-decoders/t5", batch: pairs, wider: { d_model: 48, d_kv: 12, d_ff: 64 }, hasNoBiases: true },
  { family: "bart", folder: "encoder-decoders/bart", batch: pairs, wider: { d_model: 48, encoder_ffn_dim: 64, decoder_ffn_dim: 64 } },
] as const;
type Base = (typeof bases)[number];
const cases = (methods as readonly Method[]).flatMap((method) =>
  bases.filter((base) => !("hasNoBiases" in base && needsBiases.has(method.name))).map((base) => ({ method, base, family: base.family })),
);

/** A base of the same family with twice the width; its weights are zeros. */
async function openWider({ folder: base, wider }: Base, attach: (target: MethodTarget) => AttachedMethod) {
  const config = JSON.parse(readFileSync(`${reference}${base}/config.json`, "utf8")) as Record<string, unknown>;
  const model = createModel({ ...config, ...wider });
  const description = describeModel(model);
  const method = attach({ model, ...description });
  const sizes = new Map(description.parameters.map(({ name, shape }) => [name, shape.reduce((product, n) => product * n, 1)]));
  const source: WeightSource = {
    dtypeOf: () => "float32",
    readInto: async () => {},
    readFloat32: async (name) => new Float32Array(sizes.get(name)!),
  };
  const store = await loadParameters({ specs: description.parameters, method, source, random: createRandom(1), storable: ["float32"] });
  return { method, store };
}

describe.each(cases)("$method.name on $family", ({ method, base, family }) => {
  const { batch } = base;
  const config = method.configSchema.parse({ name: method.name, ...needed[method.name] });
  const open = (learningRate = 1e-2) =>
    openTinyModel({
      folder: `${reference}${base.folder}`,
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

  if (!startElsewhere.has(method.name))
    it("starts at the base model", async () => {
      const plain = await openTinyModel({ folder: `${reference}${base.folder}`, attach: () => untouched });
      expect(await loss(await open())).toBeCloseTo(await loss(plain), 5);
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

  it("merges to the same model, where it can", async () => {
    const opened = await open();
    if (!opened.method.adapter?.merge) return; // what then happens is tested with the export
    for (let i = 1; i <= 3; i++) await step(opened, i);
    const plain = await openTinyModel({ folder: `${reference}${base.folder}`, attach: () => untouched });
    for (const [name, { tensor }] of plain.store.parameters)
      (tensor.data as Float32Array).set(mergedParameter({ name, store: opened.store, method: opened.method }).data);
    expect(await loss(plain)).toBeCloseTo(await loss(opened), 5);
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
      folder: `${reference}${base.folder}`,
      attach: (target) => adapter.method.attach(target, adapter.config),
    });
    adapter.loadInto(again.store, again.method);
    expect(await loss(again)).toBeCloseTo(await loss(opened), 5);
    const { method: onWider, store: wider } = await openWider(base, (target) => adapter.method.attach(target, adapter.config));
    expect(() => adapter.loadInto(wider, onWider)).toThrow(/does not fit this base model/);
  });
});
