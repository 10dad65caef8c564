/** Merging adapters of experts: every expert as PEFT merges a linear layer with its factors; and what the merged folder does on the base. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { cp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { createRandom, type Random } from "../../src/base/random.ts";
import { mergedParameter, readAdapter } from "../../src/execution/weights/adapter-files.ts";
import { adapterMethods, productOf } from "../../src/export/merging/adapter-methods.ts";
import { readLoraSource } from "../../src/export/merging/lora-source.ts";
import { encodeMergedAdapter, mergeAdapters } from "../../src/export/merging/merge-adapters.ts";
import { openFolder, writeFileAtomic } from "../../src/platform/node/files.ts";
import { expectSummary, type Summary } from "./expect-summary.ts";
import { openTinyModel, reference } from "./tiny-model.ts";

interface Case {
  readonly adapters: string[];
  readonly weights: number[];
  readonly combinationType: string;
  readonly density?: number;
  readonly svdRank?: number;
  readonly factors?: Record<string, Summary>;
  readonly products?: Record<string, Summary>;
}
const { base, cases } = JSON.parse(readFileSync(`${reference}merging-experts/reference.json`, "utf8")) as {
  base: string;
  cases: Record<string, Case>;
};
const folderOf = (adapter: string): string => `${reference}merging-experts/adapters/${adapter}`;
const scratch = mkdtempSync(join(tmpdir(), "tunesmith-merging-experts-"));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

/** The stream that the reference script puts in place of torch.bernoulli. */
function recordedRandom(): Random {
  let drawn = 0;
  return { ...createRandom(0), next: () => (0.5 + drawn++ * 0.6180339887498949) % 1 };
}

async function merge({ adapters, weights, combinationType: name, ...options }: Pick<Case, "adapters" | "weights" | "combinationType">) {
  const method = adapterMethods.find((known) => known.name === name)!;
  const sources = await Promise.all(adapters.map((adapter) => readLoraSource(openFolder(adapter))));
  const config = method.configSchema.parse({ name, ...options });
  return { sources, merged: mergeAdapters({ sources, weights, method, config, randomFor: recordedRandom }) };
}

describe("every expert, as PEFT merges a linear layer", () => {
  it("in every way that there is", () => {
    const merged = new Set(Object.values(cases).map(({ combinationType }) => combinationType));
    expect(merged).toEqual(new Set(adapterMethods.map(({ name }) => name)));
  });

  it.each(Object.keys(cases))("%s", async (name) => {
    const { factors = {}, products = {}, adapters, ...recipe } = cases[name]!;
    const { merged } = await merge({ adapters: adapters.map(folderOf), ...recipe });
    // Attention is merged as ever (merging.test.ts).
    const experts = [...merged.keys()].filter((module) => !module.includes("self_attn"));
    expect(experts.length).toBe(4 + 4 + 1);
    for (const [tensor, summary] of Object.entries(factors)) {
      const [, module, factor] = /^(.*)\.lora_([AB])\.weight$/.exec(tensor)!;
      expectSummary(tensor, merged.get(module!)![factor === "A" ? "a" : "b"], summary, 1e-6);
    }
    for (const [module, summary] of Object.entries(products)) expectSummary(module, productOf(merged.get(module)!), summary, 2e-6);
  });
});

/** The base's weights with an adapter folded in. */
async function weightsWith(folder: string): Promise<Map<string, Float32Array>> {
  const adapter = await readAdapter(openFolder(folder));
  const { store, method } = await openTinyModel({
    folder: `${reference}${base}`,
    attach: (target) => adapter.method.attach(target, adapter.config),
  });
  adapter.loadInto(store, method);
  const own = [...store.parameters.keys()].filter((name) => !name.includes("lora_"));
  return new Map(own.map((name) => [name, mergedParameter({ name, store, method }).data]));
}

describe("the merged folder on its base", () => {
  it.each([{ combinationType: "cat" }, { combinationType: "svd", svdRank: 32 }])(
    "$combinationType adds up what its adapters change in every expert",
    async (method) => {
      const weights = [0.7, -0.4, 1.2];
      const adapters = ["a", "b", "c"].map(folderOf);
      const { merged, sources } = await merge({ adapters, weights, ...method });
      const folder = mkdtempSync(join(scratch, "merged-"));
      for (const [file, content] of Object.entries(encodeMergedAdapter(merged, sources)))
        await writeFileAtomic(join(folder, file), content);
      const config = JSON.parse(readFileSync(join(folder, "adapter_config.json"), "utf8")) as Record<string, unknown>;
      expect(config.target_modules).toEqual(["q_proj", "v_proj"]);
      expect(config.target_parameters).toEqual(
        ["experts.gate_up_proj", "experts.down_proj", "gate.weight"].map((name) => `layers.0.mlp.${name}`).sort(),
      );
      const changed = await weightsWith(folder);
      const { store } = await openTinyModel({
        folder: `${reference}${base}`,
        attach: () => ({ hooks: {}, added: [], trains: () => false }),
      });
      const each = await Promise.all(adapters.map(weightsWith));
      let different = 0;
      for (const [name, found] of changed) {
        const before = store.parameters.get(name)!.tensor.data as Float32Array;
        const expected = before.map((value, i) =>
          weights.reduce((sum, weight, j) => sum + weight * (each[j]!.get(name)![i]! - value), value),
        );
        expect(Math.max(...found.map((value, i) => Math.abs(value - expected[i]!))), name).toBeLessThan(2e-5);
        if (found.some((value, i) => value !== before[i])) different++;
      }
      // Three layers of four experts and the router, and two layers of attention in both blocks.
      expect(different).toBe(3 * 4 + 1 + 2 * 2);
    },
  );

  it("experts of other ranks than the rest come back", async () => {
    const { merged, sources } = await merge({ adapters: ["a", "c"].map(folderOf), weights: [1, 1], combinationType: "cat" });
    const folder = mkdtempSync(join(scratch, "merged-"));
    for (const [file, content] of Object.entries(encodeMergedAdapter(merged, sources))) await writeFileAtomic(join(folder, file), content);
    const again = await readLoraSource(openFolder(folder));
    expect(again.parameters).toEqual(sources[0]!.parameters);
    for (const [module, update] of merged) expect(again.modules.get(module), module).toEqual(update);
  });
});

describe("what cannot be merged", () => {
  async function changed(adapter: string, change: (config: Record<string, unknown>) => object): Promise<string> {
    const folder = mkdtempSync(join(scratch, "changed-"));
    await cp(folderOf(adapter), folder, { recursive: true });
    const file = join(folder, "adapter_config.json");
    writeFileSync(file, JSON.stringify(change(JSON.parse(readFileSync(file, "utf8")) as Record<string, unknown>)));
    return folder;
  }

  it("ranks that differ, by methods on factors", () =>
    expect(merge({ adapters: ["a", "c"].map(folderOf), weights: [1, 1], combinationType: "linear" })).rejects.toThrow(
      /needs adapters of equal rank; .*experts\.down_proj\[0\] has the ranks 4, 5\. Use cat, svd/,
    ));

  it("factors of another rank than the configuration's", async () => {
    const folder = await changed("a", (config) => ({ ...config, r: 3 }));
    await expect(readLoraSource(openFolder(folder))).rejects.toThrow(
      /experts\.\w+: lora_A \[16, \d+\] and lora_B \[\d+, 16\] are not those of experts of rank 3/,
    );
  });

  it("another number of experts", async () => {
    const folder = await changed("b", (config) => ({ ...config, r: 2 }));
    await expect(merge({ adapters: [folderOf("a"), folder], weights: [1, 1], combinationType: "cat" })).rejects.toThrow(
      /experts\.down_proj has 4 experts in .*, 8 in /,
    );
  });

  it("parameters that the configuration does not name", async () => {
    const folder = await changed("a", (config) => ({ ...config, target_parameters: ["layers.0.mlp.experts.down_proj"] }));
    await expect(readLoraSource(openFolder(folder))).rejects.toThrow(
      /mlp\.experts has factors for 2 parameters; of those known, gate_up_proj and down_proj, target_parameters \[.*\] names 1/,
    );
  });

  it("experts by the names of transformers 4 beside parameters", () =>
    expect(
      merge({ adapters: [folderOf("a"), `${reference}lora-experts/mixtral-by-expert/adapter`], weights: [1, 1], combinationType: "cat" }),
    ).rejects.toThrow(/names every expert by itself, as transformers 4 does.*tunesmith export <base> <folder> --adapter .* --format peft/));
});
