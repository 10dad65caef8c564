/** LoRA on the experts and the router of a mixture against PEFT: adapters that PEFT wrote, read, trained, merged and written again. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { encodeAdapter, mergedParameter, readAdapter } from "../../src/execution/weights/adapter-files.ts";
import { lora } from "../../src/methods/lora/lora.ts";
import type { ParameterData } from "../../src/methods/method.ts";
import { openFolder, writeFileAtomic } from "../../src/platform/node/files.ts";
import { expectSummary, type Summary } from "./expect-summary.ts";
import { type CurveReference, expectCurve, openPeftCase, readReference } from "./peft-case.ts";
import { batchOf, openTinyModel, reference } from "./tiny-model.ts";

type Reference = CurveReference & { readonly merged: Record<string, Summary> };
type Opened = Awaited<ReturnType<typeof openTinyModel>>;
const cases = readdirSync(`${reference}lora-experts`);
const scratch = mkdtempSync(join(tmpdir(), "tunesmith-experts-"));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

/** What is trained, or its gradient, as an adapter's file has it. */
function inFile({ store, method: { adapter } }: Opened, part: "values" | "gradient" = "values"): ReadonlyMap<string, ParameterData> {
  const trained = [...store.parameters.values()].filter(({ gradient }) => gradient);
  const tensors = trained.map(({ spec, tensor, gradient }): [string, ParameterData] => [
    adapter!.fileName(spec.name),
    { shape: spec.shape, data: part === "gradient" ? gradient! : (tensor.data as Float32Array) },
  ]);
  return adapter!.pack!(new Map(tensors));
}

async function writtenAndRead(opened: Opened, base: string): Promise<{ opened: Opened; json: Record<string, unknown> }> {
  const folder = mkdtempSync(`${scratch}/`);
  for (const [file, content] of Object.entries(encodeAdapter({ ...opened, baseModel: base })))
    await writeFileAtomic(join(folder, file), content);
  const adapter = await readAdapter(openFolder(folder));
  const again = await openTinyModel({
    folder: `${reference}${base}`,
    attach: (target) => adapter.method.attach(target, adapter.config),
  });
  adapter.loadInto(again.store, again.method);
  return { opened: again, json: JSON.parse(readFileSync(join(folder, "adapter_config.json"), "utf8")) };
}

async function lossOf({ engine }: Opened, rows: number[][]): Promise<number> {
  const { lossSum, tokens } = await engine.evaluate(batchOf(rows));
  return lossSum / tokens;
}

describe.each(cases.filter((name) => !name.endsWith("by-expert")))("an adapter by PEFT: %s", (name) => {
  const folder = `${reference}lora-experts/${name}`;
  const expected = readReference<Reference>(folder);

  it("agrees in loss, gradients and five training steps", async () => {
    const opened = await openPeftCase(folder);
    expect([...inFile(opened).keys()].sort()).toEqual(Object.keys(expected.gradients).sort());
    const pick = (tensor: string, part: "values" | "gradient") => inFile(opened, part).get(tensor)!.data;
    await expectCurve({ opened, expected, batch: batchOf(expected.inputIds), pick });
  });

  it("merges to the same weights", async () => {
    const { store, method } = await openPeftCase(folder);
    for (const [tensor, summary] of Object.entries(expected.merged))
      expectSummary(tensor, mergedParameter({ name: tensor, store, method }).data, summary, 1e-5);
  });

  it("is written as it was read", async () => {
    const opened = await openPeftCase(folder);
    const again = await writtenAndRead(opened, expected.base);
    expect([...inFile(again.opened)]).toEqual([...inFile(opened)]);
    expect(await lossOf(again.opened, expected.inputIds)).toBe(await lossOf(opened, expected.inputIds));
  });
});

it("reads experts by the names of transformers 4, and writes them as PEFT converts them", async () => {
  const folder = `${reference}lora-experts/mixtral-by-expert`;
  const expected = JSON.parse(readFileSync(`${folder}/loaded.json`, "utf8")) as {
    base: string;
    inputIds: number[][];
    loss: number;
    joined: string[];
  };
  const adapter = await readAdapter(openFolder(`${folder}/adapter`));
  const opened = await openTinyModel({
    folder: `${reference}${expected.base}`,
    attach: (target) => adapter.method.attach(target, adapter.config),
  });
  adapter.loadInto(opened.store, opened.method);
  expect(Math.abs((await lossOf(opened, expected.inputIds)) - expected.loss)).toBeLessThan(2e-5);
  expect([...inFile(opened).keys()].map((name) => name.replace(/^base_model\.model\./, "")).sort()).toEqual(
    expected.joined.map((name) => name.replace(/^base_model\.model\./, "")),
  );
  const again = await writtenAndRead(opened, expected.base);
  expect(Math.abs((await lossOf(again.opened, expected.inputIds)) - expected.loss)).toBeLessThan(2e-5);
});

const ids = [[3, 5, 7, 9, 11, 13, 15, 17]];
const written = async (base: string, config: object) => {
  const opened = await openTinyModel({
    folder: `${reference}${base}`,
    attach: (target) => lora.attach(target, lora.configSchema.parse({ name: "lora", rank: 4, ...config })),
  });
  for (const { tensor, gradient } of opened.store.parameters.values())
    if (gradient) for (let i = 0; i < tensor.data.length; i++) (tensor.data as Float32Array)[i]! += Math.sin(i) / 10;
  return { opened, ...(await writtenAndRead(opened, base).then(({ opened: again, json }) => ({ again, json }))) };
};

describe("written", () => {
  it("with experts of different ranks and scales, some left out", async () => {
    const { opened, again, json } = await written("families/mixtral", {
      ...{ targetModules: ["q_proj", "experts.3.w1", "experts.3.w3", "experts.0.w1", "experts.2.w2"], loraDropout: 0.1 },
      ...{ rankPattern: { "layers.1.block_sparse_moe.experts.0.w1": 6 }, alphaPattern: { "experts.0.w1": 9 } },
    });
    expect(json).toMatchObject({
      ...{ target_modules: ["q_proj"], target_parameters: ["mlp.experts.gate_up_proj", "mlp.experts.down_proj"], lora_dropout: 0 },
      ...{ r: 4, rank_pattern: { "mlp.experts.gate_up_proj": 8 } },
    });
    expect(Math.abs((await lossOf(again, ids)) - (await lossOf(opened, ids)))).toBeLessThan(1e-6);
  });

  it("with the MLPs of dense blocks, whose names PEFT takes for those of experts", async () => {
    const { opened, again, json } = await written("families/qwen3_moe", { rankPattern: { up_proj: 2 }, alphaPattern: { up_proj: 3 } });
    expect(json).toMatchObject({
      target_modules: ["q_proj", "k_proj", "v_proj", "o_proj"],
      target_parameters: ["mlp.gate_proj.weight", "mlp.up_proj.weight", "mlp.down_proj.weight"],
      rank_pattern: { "mlp.up_proj.weight": 2, up_proj: 2 },
      alpha_pattern: { "mlp.up_proj.weight": 3, up_proj: 3 },
    });
    expect(Math.abs((await lossOf(again, ids)) - (await lossOf(opened, ids)))).toBeLessThan(1e-6);
  });

  it("with some blocks only", async () => {
    const { json } = await written("families/mixtral", { targetModules: ".*layers.1.*(experts.*w2|v_proj)" });
    expect(json).toMatchObject({
      target_modules: ["model.layers.1.self_attn.v_proj"],
      target_parameters: ["model.layers.1.mlp.experts.down_proj"],
    });
  });

  it("under the names of layers with DoRA, which PEFT does not have on parameters", async () => {
    const { opened, again, json } = await written("families/mixtral", { targetModules: ".*experts.*w2", useDora: true });
    expect(json).toMatchObject({ target_modules: ".*experts.*w2" });
    expect(json).not.toHaveProperty("target_parameters");
    expect(Math.abs((await lossOf(again, ids)) - (await lossOf(opened, ids)))).toBeLessThan(1e-6);
  });
});

describe("targetParameters", () => {
  it("shares A between gate and up", async () => {
    const { opened } = await written("families/mixtral", { targetModules: [], targetParameters: ["experts.gate_up_proj"] });
    expect(opened.method.added.length).toBe(2 * 4 * 3);
  });

  it.each([
    [{ targetParameters: ["expert.gate_up_proj"] }, 'Did you mean "experts.gate_up_proj"?'],
    [{ targetParameters: ["experts.down_proj"], useDora: true }, "does not go with useDora"],
    [{ targetParameters: ["experts.down_proj"], initLoraWeights: "pissa" }, "does not go with initLoraWeights: pissa"],
    [{ targetModules: [] }, "the list is empty"],
    [{ targetModules: [], targetParameters: ["experts.down_proj"], rank: 21 }, "21 is above the size of"],
  ])("says what is wrong: %j", async (config, message) => {
    await expect(written("families/mixtral", config)).rejects.toThrow(message);
  });

  it("refuses an adapter of another size", async () => {
    const folder = `${reference}lora-experts/mixtral`;
    const adapter = await readAdapter(openFolder(`${folder}/adapter`));
    const config = { ...(adapter.config as object), rankPattern: { "experts.down_proj": 2 } };
    const { store, method } = await openTinyModel({
      folder: `${reference}families/mixtral`,
      attach: (target) => adapter.method.attach(target, config),
    });
    expect(() => adapter.loadInto(store, method)).toThrow(/experts\.lora_A\.weight is \[12, 20\], this base needs \[8, 20\]/);
  });
});
