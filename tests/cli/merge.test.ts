/** tunesmith merge: adapters and models from recipe files, and what it says of recipes and sources that do not fit. */
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { readLoraSource } from "../../src/export/merging/lora-source.ts";
import { type Checkpoint, openCheckpoint, readFloat32 } from "../../src/models/weights/checkpoint.ts";
import { bytesOf, toFloat32 } from "../../src/models/weights/element-types.ts";
import { encodeSafetensors, readTensor, type TensorToWrite } from "../../src/models/weights/safetensors.ts";
import { openFolder, writeFileAtomic } from "../../src/platform/node/files.ts";
import { root, runCli } from "./run-cli.ts";

const folder = mkdtempSync(join(tmpdir(), "tunesmith-merge-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const adapters = join(root, "tests/conformance/reference/merging/adapters");
const [a, b, c] = ["a", "b", "c"].map((name) => join(adapters, name)) as [string, string, string];
const checkpoint = join(root, "examples/base-model/checkpoint");
const llama = join(root, "tests/conformance/reference/families/llama");
let count = 0;

function merge(recipe: Record<string, unknown>, overrides: string[] = []) {
  const output = join(folder, `merged-${++count}`);
  const file = join(folder, `recipe-${count}.yaml`);
  writeFileSync(file, JSON.stringify({ output, ...recipe }));
  return { output, result: runCli(["merge", file, ...overrides]) };
}

/** A copy with some tensors changed: renamed, reshaped or with other values. */
async function changedCheckpoint(from: string, change: (name: string, values: Float32Array) => [string, number[]?] | undefined) {
  const path = join(folder, `changed-${++count}`);
  cpSync(from, path, { recursive: true });
  const { tensors } = await openCheckpoint(openFolder(from));
  const written = new Map<string, TensorToWrite>();
  for (const [name, { file, ...entry }] of tensors) {
    const values = toFloat32({ name, dtype: entry.dtype, bytes: (await readTensor(file, entry)).slice() });
    const changed = change(name, values);
    if (changed) written.set(changed[0], { dtype: "F32", shape: changed[1] ?? entry.shape, read: async () => bytesOf(values) });
  }
  await writeFileAtomic(join(path, "model.safetensors"), encodeSafetensors(written));
  return path;
}

/** A copy of an adapter whose config is changed, in a run's folder whose manifest names base weights. */
function changedAdapter(from: string, config: Record<string, unknown>, baseHash?: string): string {
  const run = join(folder, `run-${++count}`);
  cpSync(from, join(run, "adapter"), { recursive: true });
  const file = join(run, "adapter/adapter_config.json");
  writeFileSync(file, JSON.stringify({ ...JSON.parse(readFileSync(file, "utf8")), ...config }));
  const weights = [{ file: "model.safetensors", sha256: baseHash, bytes: 1 }];
  if (baseHash) writeFileSync(join(run, "manifest.json"), JSON.stringify({ formatVersion: 1, weights }));
  return run;
}

const largestDifference = async (one: Checkpoint, other: Checkpoint): Promise<number> => {
  let largest = 0;
  for (const name of one.tensors.keys()) {
    const [x, y] = [await readFloat32(one, name), await readFloat32(other, name)];
    x.forEach((value, i) => (largest = Math.max(largest, Math.abs(value - y[i]!))));
  }
  return largest;
};

describe("tunesmith merge", () => {
  it("makes one adapter of several, with a manifest, and refuses to write over it", async () => {
    const { output, result } = merge({ adapters: [a, b, c], weights: [0.7, -0.4, 1.2], method: { name: "cat" } });
    expect((await result).stderr).toMatch(/merging 3 adapters by cat/);
    const merged = await readLoraSource(openFolder(output));
    expect(Object.fromEntries([...merged.modules].map(([module, { rank }]) => [module.split(".").at(-1), rank]))).toEqual({
      ...{ q_proj: 14, v_proj: 4, o_proj: 4 },
    });
    expect([...merged.modules.values()].every(({ scale }) => scale === 1)).toBe(true);
    const manifest = JSON.parse(readFileSync(join(output, "manifest.json"), "utf8"));
    expect(manifest.merge.sources.map((source: { weight: number }) => source.weight)).toEqual([0.7, -0.4, 1.2]);
    expect(manifest.merge.sources[0].files[1].sha256).toMatch(/^[0-9a-f]{64}$/);
    const again = await merge({ adapters: [a, b], method: { name: "linear" }, output }).result;
    expect(again).toMatchObject({ code: 2, stderr: expect.stringMatching(/exists already; choose another folder/) });
    expect(readdirSync(dirname(output)).filter((name) => name.startsWith("."))).toEqual([]);
  });

  it("gives the same bytes for the same seed of DARE, others for another", async () => {
    const recipe = { adapters: [a, b], method: { name: "dare_ties", density: 0.5 } };
    const weights = await Promise.all(
      [[], [], ["seed=7"]].map(async (overrides) => {
        const { output, result } = merge(recipe, overrides);
        expect((await result).code).toBe(0);
        return readFileSync(join(output, "adapter_model.safetensors")).toString("base64");
      }),
    );
    expect(weights[1]).toBe(weights[0]);
    expect(weights[2]).not.toBe(weights[0]);
  });

  it("adds task vectors to a base, in the base's element type, with its tokenizer and config", async () => {
    const up = await changedCheckpoint(checkpoint, (name, values) => {
      if (name === "model.norm.weight") values.forEach((value, i) => (values[i] = value + 0.5));
      return [name];
    });
    const { output, result } = merge({ base: checkpoint, models: [up, up], weights: [2, -1], method: { name: "task_arithmetic" } });
    expect((await result).code).toBe(0);
    expect(existsSync(join(output, "tokenizer.json"))).toBe(true);
    const [merged, expected] = [await openCheckpoint(openFolder(output)), await openCheckpoint(openFolder(up))];
    expect(merged.tensors.get("model.norm.weight")!.dtype).toBe("BF16");
    expect(await largestDifference(merged, expected)).toBeLessThan(2 ** -7); // bfloat16 of values between 1 and 2
    const generated = await runCli(["generate", output, "Hello", "--max-new-tokens", "3"]);
    expect(generated.code).toBe(0);
  });

  it("a soup of two equal models, and any step of slerp between them, is that model", async () => {
    for (const method of [{ name: "soup" }, { name: "slerp", t: 0.3 }]) {
      const { output, result } = merge({ models: [llama, llama], method });
      expect((await result).code).toBe(0);
      const [merged, source] = [await openCheckpoint(openFolder(output)), await openCheckpoint(openFolder(llama))];
      expect(await largestDifference(merged, source)).toBeLessThan(1e-6);
    }
  });
});

/** An adapter of rank 2 for one square projection of the example checkpoint. */
async function smallAdapter(module: string, size: number): Promise<string> {
  const path = join(folder, `adapter-${++count}`);
  const factor = (shape: number[]): TensorToWrite => ({
    ...{ dtype: "F32", shape },
    read: async () => bytesOf(Float32Array.from({ length: shape[0]! * shape[1]! }, (_, i) => size * Math.sin(i))),
  });
  const tensors = new Map([
    [`base_model.model.${module}.lora_A.weight`, factor([2, 192])],
    [`base_model.model.${module}.lora_B.weight`, factor([192, 2])],
  ]);
  await writeFileAtomic(join(path, "adapter_model.safetensors"), encodeSafetensors(tensors));
  writeFileSync(join(path, "adapter_config.json"), JSON.stringify({ peft_type: "LORA", r: 2, lora_alpha: 2, target_modules: [module] }));
  return path;
}

describe("tunesmith generate with several adapters", () => {
  it("answers once with each, as each alone", async () => {
    const paths = [await smallAdapter("model.layers.1.self_attn.q_proj", 1), await smallAdapter("model.layers.0.self_attn.o_proj", 0.5)];
    const generate = async (...adapters: string[]) => {
      const options = ["--raw", "--temperature", "0", "--max-new-tokens", "6", ...adapters.flatMap((path) => ["--adapter", path])];
      const { stdout, stderr, code } = await runCli(["generate", checkpoint, "The bear", ...options]);
      expect(stderr).not.toMatch(/error/);
      expect(code).toBe(0);
      return stdout;
    };
    const alone = [await generate(paths[0]!), await generate(paths[1]!)];
    expect(alone[0]).not.toBe(alone[1]);
    expect(await generate(...paths)).toBe(`[${paths[0]}]\n${alone[0]}[${paths[1]}]\n${alone[1]}`);
  });

  it("other commands take one", async () => {
    const path = await smallAdapter("model.layers.1.self_attn.q_proj", 1);
    const { code, stderr } = await runCli(["chat", checkpoint, "--adapter", path, "--adapter", path]);
    expect(stderr).toMatch(/2 adapters are named .*; this command takes one/);
    expect(code).toBe(2);
  });
});

describe("tunesmith export --format unmerged", () => {
  it("takes a merged adapter out again", async () => {
    const base = await changedCheckpoint(checkpoint, (name) => [name]); // float32
    const adapter = await smallAdapter("model.layers.1.self_attn.q_proj", 1);
    const [merged, unmerged] = [join(folder, "with"), join(folder, "without")];
    expect((await runCli(["export", base, merged, "--adapter", adapter])).code).toBe(0);
    expect((await runCli(["export", merged, unmerged, "--adapter", adapter, "--format", "unmerged"])).code).toBe(0);
    const [start, tuned, end] = await Promise.all([base, merged, unmerged].map((path) => openCheckpoint(openFolder(path))));
    expect(await largestDifference(start!, tuned!)).toBeGreaterThan(0.5);
    expect(await largestDifference(start!, end!)).toBeLessThan(1e-6);
    expect(await runCli(["export", merged, join(folder, "no"), "--format", "unmerged"])).toMatchObject({
      ...{ code: 2, stderr: expect.stringMatching(/--format unmerged needs a merged model folder/) },
    });
  });
});

const hashes = ["1", "2"].map((digit) => digit.repeat(64)) as [string, string];
const wrong: Record<string, { recipe(): Record<string, unknown> | Promise<Record<string, unknown>>; code: number; says: RegExp[] }> = {
  "an unknown combination type": {
    recipe: () => ({ adapters: [a, b], method: { name: "dare_tie" } }),
    code: 2,
    says: [/method\.name: "dare_tie" cannot merge adapters\. Did you mean "dare_ties"\? Known: cat, svd,/],
  },
  "a method of models for adapters": {
    recipe: () => ({ adapters: [a, b], method: { name: "soup" } }),
    code: 2,
    says: [/"soup" cannot merge adapters/],
  },
  "a weight too few and a density out of range": {
    recipe: () => ({ adapters: [a, b], weights: [1], method: { name: "ties", density: 1.5 } }),
    code: 2,
    says: [/weights: 1 numbers for 2 sources/, /method\.density: 1\.5 does not fit/],
  },
  "no density": { recipe: () => ({ adapters: [a, b], method: { name: "ties" } }), code: 2, says: [/method\.density: missing/] },
  "misspelt keys": {
    recipe: () => ({ adaptors: [a, b], method: { name: "ties", density: 0.5 } }),
    code: 2,
    says: [/adaptors: unknown key\. Did you mean "adapters"\?/],
  },
  "a misspelt option": {
    recipe: () => ({ adapters: [a, b], method: { name: "ties", density: 0.5, majoritySignMethd: "total" } }),
    code: 2,
    says: [/method\.majoritySignMethd: unknown key\. Did you mean "majoritySignMethod"\?/],
  },
  "neither adapters nor models": { recipe: () => ({ method: { name: "cat" } }), code: 2, says: [/name either adapters or models/] },
  "task vectors without a base": {
    recipe: () => ({ models: [llama], method: { name: "ties", density: 0.5 } }),
    code: 2,
    says: [/base: missing\. ties works on the differences/],
  },
  "slerp of three, with weights": {
    recipe: () => ({ models: [llama, llama, llama], weights: [1, 1, 1], method: { name: "slerp" } }),
    code: 2,
    says: [/models: slerp takes 2, not 3/, /weights: slerp has none/],
  },
  "adapters of different rank, added": {
    recipe: () => ({ adapters: [a, c], method: { name: "linear" } }),
    code: 2,
    says: [/q_proj has the ranks 4, 6\. Use cat, svd\./],
  },
  "an adapter that is not LoRA": {
    recipe: () => ({ adapters: [a, changedAdapter(b, { peft_type: "IA3" })], method: { name: "cat" } }),
    code: 1,
    says: [/peft_type "IA3" cannot be merged with others/],
  },
  "a DoRA adapter": {
    recipe: () => ({ adapters: [a, changedAdapter(b, { use_dora: true })], method: { name: "cat" } }),
    code: 1,
    says: [/use_dora is true: DoRA normalises/],
  },
  "an adapter whose start changed the base": {
    recipe: () => ({ adapters: [a, changedAdapter(b, { init_lora_weights: "pissa_niter_4" })], method: { name: "cat" } }),
    code: 1,
    says: [/init_lora_weights "pissa_niter_4" changed the base model/],
  },
  "adapters of two bases, by their shapes": {
    recipe: async () => ({ adapters: [a, await wideAdapter()], method: { name: "cat" } }),
    code: 1,
    says: [/made for different base models \(1 modules differ\)/, /q_proj is \[32, 32\] in .*, \[48, 32\] in/],
  },
  "adapters of two bases, by the hashes of their runs": {
    recipe: () => ({ adapters: [changedAdapter(a, {}, hashes[0]), changedAdapter(b, {}, hashes[1])], method: { name: "cat" } }),
    code: 1,
    says: [/tuned from different base models: model\.safetensors is 111111111111\.\.\. for the first, 222222222222/],
  },
  "a folder that is not an adapter": {
    recipe: () => ({ adapters: [a, llama], method: { name: "cat" } }),
    code: 1,
    says: [/has no adapter_config\.json/],
  },
  "models with other tensors": {
    recipe: async () => ({
      models: [
        llama,
        await changedCheckpoint(llama, (name, values) => {
          if (name === "model.norm.weight") return [name, [values.length / 2, 2]];
          return name === "lm_head.weight" ? undefined : [name];
        }),
      ],
      method: { name: "soup" },
    }),
    code: 1,
    says: [/lm_head\.weight is missing in .*changed/, /model\.norm\.weight is \[32\] in .*, \[16, 2\] in/],
  },
};

/** The q_proj of the first layer, with more outputs than in the others. */
async function wideAdapter(): Promise<string> {
  const path = join(folder, `wide-${++count}`);
  mkdirSync(path);
  cpSync(join(a, "adapter_config.json"), join(path, "adapter_config.json"));
  const zeros = (shape: number[]): TensorToWrite => ({ dtype: "F32", shape, read: async () => new Uint8Array(4 * shape[0]! * shape[1]!) });
  const module = "base_model.model.model.layers.0.self_attn.q_proj";
  const tensors = new Map([
    [`${module}.lora_A.weight`, zeros([4, 32])],
    [`${module}.lora_B.weight`, zeros([48, 4])],
  ]);
  await writeFileAtomic(join(path, "adapter_model.safetensors"), encodeSafetensors(tensors));
  return path;
}

describe("wrong recipes", () => {
  it.each(Object.keys(wrong))("%s", async (name) => {
    const { recipe, code, says } = wrong[name]!;
    const { output, result } = merge(await recipe());
    const { code: exit, stderr } = await result;
    for (const pattern of says) expect(stderr).toMatch(pattern);
    expect(exit).toBe(code);
    expect(existsSync(output)).toBe(false);
  });
});
