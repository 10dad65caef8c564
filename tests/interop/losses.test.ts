/**
 * The loss of what we write, computed by transformers and PEFT: for every checkpoint of the conformance tests a merged folder and a LoRA
 * adapter, and for every method an adapter that goes there and, changed and saved by PEFT, comes back. npm run test:interop; skips, and
 * says so, without TUNESMITH_PEER_PYTHON.
 */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { FileContent } from "../../src/base/folder-shelf.ts";
import { createRandom } from "../../src/base/random.ts";
import { ignoredLabel } from "../../src/data/batch.ts";
import { collate } from "../../src/data/batches.ts";
import { sameToken } from "../../src/data/collators.ts";
import { type LoadedModel, type OpenModelOptions, openModel } from "../../src/execution/loaded-model.ts";
import { SegmentedTrainingEngine } from "../../src/execution/training-engine.ts";
import { encodeAdapter, readAdapter } from "../../src/execution/weights/adapter-files.ts";
import type { ParameterStore } from "../../src/execution/weights/parameter-store.ts";
import { mergedCheckpointFiles } from "../../src/export/merged-checkpoint.ts";
import { lora } from "../../src/methods/lora/lora.ts";
import type { Method } from "../../src/methods/method.ts";
import { methods } from "../../src/methods/registry.ts";
import { causalLm } from "../../src/objectives/causal-lm.ts";
import { openFolder, writeFileAtomic } from "../../src/platform/node/files.ts";
import { type BareEncoder, bareEncoders, writeBareEncoder } from "../bare-encoder.ts";
import { root } from "../cli/run-cli.ts";
import { backend, reference } from "../conformance/tiny-model.ts";
import { openTinyBase, tinyBase } from "./tiny-bases.ts";

const python = process.env.TUNESMITH_PEER_PYTHON;
if (!python) console.log("skipped: losses in Python: TUNESMITH_PEER_PYTHON names no Python with bench/peers/requirements.txt");
const folder = mkdtempSync(join(tmpdir(), "tunesmith-interop-losses-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

interface Job {
  readonly model: string;
  readonly inputs: Readonly<Record<string, unknown>>;
  readonly adapter?: string;
  /** Where PEFT saves the adapter with other values. */
  readonly noisy?: string;
  /** transformers' class whose head the model's folder lacks. */
  readonly head?: string;
}
interface Result {
  readonly loss: number;
  readonly noisyLoss: number;
  readonly error?: string;
}

/** One process for all jobs: starting Python takes far longer than a tiny model. */
function inPython(jobs: readonly Job[]): Result[] {
  const file = join(folder, "jobs.json");
  writeFileSync(file, JSON.stringify(jobs));
  const output = execFileSync(python!, [join(root, "tests/interop/losses.py"), file], {
    ...{ encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] },
  });
  return JSON.parse(output.trim().split("\n").at(-1)!) as Result[];
}

/** A method on a base with random values in what it trains, its loss, and its adapter in a folder. */
async function tuned({ path, name, config, output }: { path: string; name: string; config: object; output: string }) {
  const base = tinyBase(path);
  const method = (methods as readonly Method[]).find((candidate) => candidate.name === name)!;
  const opened = await openTinyBase(base, { method, config: method.configSchema.parse({ name, ...config }) });
  addNoise(opened.store);
  await write(output, encodeAdapter({ ...opened, baseModel: base.folder }));
  const { lossSum, tokens } = await opened.engine.evaluate(base.batch);
  return { base, opened, loss: lossSum / tokens };
}

function addNoise({ parameters }: ParameterStore): void {
  const random = createRandom(7);
  for (const { tensor, gradient } of parameters.values())
    if (gradient) for (let i = 0; i < tensor.data.length; i++) (tensor.data as Float32Array)[i]! += 0.1 * random.normal();
}

async function write(path: string, files: Readonly<Record<string, FileContent>>): Promise<void> {
  for (const [file, content] of Object.entries(files)) await writeFileAtomic(join(path, file), content);
}

describe.skipIf(!python)("a checkpoint of every kind with LoRA", () => {
  const paths = ["families", "encoders", "encoder-decoders"].flatMap((kind) =>
    readdirSync(reference + kind).map((name) => `${kind}/${name}`),
  );
  const ours = new Map<string, number>();
  const theirs = new Map<string, { merged: Result; adapter: Result }>();
  beforeAll(async () => {
    const jobs: Job[] = [];
    for (const path of paths) {
      const [adapter, merged] = ["adapter", "merged"].map((kind) => join(folder, path, kind)) as [string, string];
      const { base, opened, loss } = await tuned({ path, name: "lora", config: { rank: 2 }, output: adapter });
      await write(merged, await mergedCheckpointFiles({ ...opened, fresh: [] }, openFolder(base.folder)));
      ours.set(path, loss);
      jobs.push({ model: merged, inputs: base.inputs }, { model: base.folder, inputs: base.inputs, adapter });
    }
    const results = inPython(jobs);
    paths.forEach((path, i) => theirs.set(path, { merged: results[2 * i]!, adapter: results[2 * i + 1]! }));
  }, 600_000);

  it.each(paths)("%s has our loss, merged in transformers and as an adapter in PEFT", (path) => {
    const { merged, adapter } = theirs.get(path)!;
    expect([merged.error, adapter.error]).toEqual([undefined, undefined]);
    expect(Math.abs(merged.loss - ours.get(path)!)).toBeLessThan(2e-5);
    expect(Math.abs(adapter.loss - ours.get(path)!)).toBeLessThan(2e-5);
  });
});

const llama = "families/llama";
const bert = "label-heads/bert-single";
const t5 = "encoder-decoders/t5";
const virtual = { numVirtualTokens: 3 };
const newTokens = ["new-tokens", { tokens: [7, 21] }] as const;
const cases: readonly (readonly [base: string, method: string, config: object])[] = [
  ...[llama, bert, t5].flatMap((path): [string, string, object][] => [
    [path, "lora", { rank: 2 }],
    [path, "lora", { rank: 2, useRslora: true, useDora: true }],
    [path, "vera", { rank: 4 }],
    [path, "ia3", {}],
    [path, "prompt-tuning", virtual],
    [path, "p-tuning", { ...virtual, encoderHiddenSize: 16 }],
  ]),
  ...["families/mixtral", "families/qwen3_moe"].flatMap((path): [string, string, object][] => [
    [path, "lora", { rank: 2, targetParameters: ["experts.gate_up_proj", "experts.down_proj", "gate.weight"] }],
    [path, "lora", { rank: 2, targetModules: ".*(o_proj|experts.*)", useRslora: true, rankPattern: { "experts.2.*": 3 } }],
    [path, "lora", { rank: 2, targetModules: ".*layers.0.*experts.*(w2|down_proj)", alphaPattern: { "experts.1.*": 3 }, loraDropout: 0.1 }],
    [path, "lora", { rank: 2, targetModules: ".*experts.*", initLoraWeights: "pissa" }],
  ]),
  [llama, "prefix-tuning", virtual],
  [bert, "prefix-tuning", virtual],
  ...["t5", "t5-gated", "mt5", "bart"].map((name): [string, string, object] => [`encoder-decoders/${name}`, "prefix-tuning", virtual]),
  [llama, ...newTokens],
  ["families/llama-tied", ...newTokens],
  // Beside trained tokens PEFT keeps no head for labels, and it leaves out the bias of a head that is tied to them, such as BERT's.
  ["encoders/modernbert-biases", ...newTokens],
  [t5, ...newTokens],
];

describe.skipIf(!python)("an adapter that goes to PEFT and comes back", () => {
  const folderOf = (i: number, kind: "ours" | "theirs"): string => join(folder, "methods", String(i), kind);
  const ours: number[] = [];
  let theirs: Result[];
  beforeAll(async () => {
    const jobs: Job[] = [];
    for (const [i, [path, name, config]] of cases.entries()) {
      const { base, loss } = await tuned({ path, name, config, output: folderOf(i, "ours") });
      ours.push(loss);
      jobs.push({ model: base.folder, inputs: base.inputs, adapter: folderOf(i, "ours"), noisy: folderOf(i, "theirs") });
    }
    theirs = inPython(jobs);
  }, 600_000);

  it.each(cases.map(([path, name, config], i) => [path, name, config, i] as const))("%s, %s %j", async (path, _name, _config, i) => {
    expect(theirs[i]!.error).toBeUndefined();
    expect(Math.abs(theirs[i]!.loss - ours[i]!), "there").toBeLessThan(2e-5);
    const base = tinyBase(path);
    const adapter = await readAdapter(openFolder(folderOf(i, "theirs")));
    const { engine, store, method } = await openTinyBase(base, adapter);
    adapter.loadInto(store, method);
    const { lossSum, tokens } = await engine.evaluate(base.batch);
    expect(Math.abs(lossSum / tokens - theirs[i]!.noisyLoss), "and back").toBeLessThan(2e-5);
  });
});

const headClasses = {
  bert: "BertForMaskedLM",
  roberta: "RobertaForMaskedLM",
  distilbert: "DistilBertForMaskedLM",
  modernbert: "ModernBertForMaskedLM",
};

describe.skipIf(!python)("an encoder that was saved without a head, with a new one for words", () => {
  const rows = [
    [2, 5, 4, 11, 13, 4, 3],
    [2, 8, 4, 3, 6, 7, 3],
  ];
  const labels = rows.map((ids) => ids.map((id, i) => (i === 2 ? id + 1 : ignoredLabel)));
  const batch = collate(
    rows.map((ids, i) => [{ inputIds: Int32Array.from(ids), labels: Int32Array.from(labels[i]!) }]),
    sameToken,
  );
  const inputs = { input_ids: rows, labels, attention_mask: rows.map((ids) => ids.map(() => 1)) };
  const placeOf = (family: string, kind: "base" | "adapter" | "theirs" | "merged"): string => join(folder, "bare", family, kind);
  const open = async (
    family: BareEncoder,
    by: Pick<OpenModelOptions, "method" | "adapter">,
  ): Promise<[LoadedModel, () => Promise<number>]> => {
    const task = { peftTaskType: "FEATURE_EXTRACTION" };
    const loaded = await openModel({ folder: openFolder(placeOf(family, "base")), backend, task, ...by });
    const engine = new SegmentedTrainingEngine({
      ...{ ...loaded, regularisers: [], activationCheckpointing: "none" },
      ...{ objective: causalLm, objectiveConfig: { name: "causal-lm", labelSmoothing: 0 } },
    });
    const lossOf = async (): Promise<number> => {
      const { lossSum, tokens } = await engine.evaluate(batch);
      return lossSum / tokens;
    };
    return [loaded, lossOf];
  };
  const ours = new Map<string, number>();
  let theirs: Result[];
  beforeAll(async () => {
    const jobs: Job[] = [];
    for (const family of bareEncoders) {
      const [base, adapter, noisy, merged] = (["base", "adapter", "theirs", "merged"] as const).map((kind) => placeOf(family, kind));
      await writeBareEncoder(base!, family);
      const [loaded, lossOf] = await open(family, { method: { method: lora, config: lora.configSchema.parse({ name: "lora", rank: 2 }) } });
      addNoise(loaded.store);
      ours.set(family, await lossOf());
      await write(adapter!, encodeAdapter({ ...loaded, baseModel: base! }));
      await write(merged!, await mergedCheckpointFiles(loaded, openFolder(base!)));
      jobs.push({ model: base!, inputs, adapter: adapter!, noisy: noisy!, head: headClasses[family] }, { model: merged!, inputs });
    }
    theirs = inPython(jobs);
  }, 600_000);

  it.each(bareEncoders)("%s", async (family) => {
    const [adapter, merged] = theirs.slice(2 * bareEncoders.indexOf(family)) as [Result, Result];
    expect([adapter.error, merged.error]).toEqual([undefined, undefined]);
    expect(Math.abs(adapter.loss - ours.get(family)!), "adapter").toBeLessThan(2e-5);
    expect(Math.abs(merged.loss - ours.get(family)!), "merged").toBeLessThan(2e-5);
    const [, lossOf] = await open(family, { adapter: await readAdapter(openFolder(placeOf(family, "theirs"))) });
    expect(Math.abs((await lossOf()) - adapter.noisyLoss), "and back").toBeLessThan(2e-5);
  });
});
