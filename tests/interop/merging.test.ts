/**
 * What tunesmith merge writes loads in Python PEFT and transformers, with the loss that we compute: npm run test:interop.
 * Skips, and says so, without TUNESMITH_PEER_PYTHON.
 */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { readAdapter } from "../../src/execution/weights/adapter-files.ts";
import { full } from "../../src/methods/full.ts";
import { openFolder } from "../../src/platform/node/files.ts";
import { root, runCli } from "../cli/run-cli.ts";
import { batchOf, openTinyModel, reference } from "../conformance/tiny-model.ts";

const python = process.env.TUNESMITH_PEER_PYTHON;
if (!python) console.log("skipped: interop of merges: TUNESMITH_PEER_PYTHON names no Python with bench/peers/requirements.txt");
const folder = mkdtempSync(join(tmpdir(), "tunesmith-interop-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const base = `${reference}families/llama`;
const adapters = ["a", "b", "c"].map((name) => `${reference}merging/adapters/${name}`);
const rows = [[3, 7, 1, 12, 5, 9, 2, 4]];

async function merge(name: string, recipe: object): Promise<string> {
  const output = join(folder, name);
  writeFileSync(`${output}.yaml`, JSON.stringify({ ...recipe, output }));
  expect((await runCli(["merge", `${output}.yaml`])).code).toBe(0);
  return output;
}

const mixture = {
  base: `${reference}families/mixtral`,
  adapters: ["a", "b", "c"].map((name) => `${reference}merging-experts/adapters/${name}`),
};

function lossInPython(script: string, args: string[]): number {
  const options = [join(root, "tests/interop", script), ...args, "--input-ids", JSON.stringify(rows)];
  const output = execFileSync(python!, options, { encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] });
  return (JSON.parse(output.trim().split("\n").at(-1)!) as { loss: number }).loss;
}

async function ourLoss(options: Parameters<typeof openTinyModel>[0], adapter?: Awaited<ReturnType<typeof readAdapter>>): Promise<number> {
  const { engine, store, method } = await openTinyModel(options);
  adapter?.loadInto(store, method);
  const { lossSum, tokens } = await engine.evaluate(batchOf(rows));
  return lossSum / tokens;
}

describe.skipIf(!python)("merged folders, in Python", () => {
  it.each([{ name: "cat" }, { name: "svd", svdRank: 3 }, { name: "ties_svd", density: 0.5 }])("adapter: $name", async (method) => {
    const output = await merge(method.name, { adapters, weights: [0.7, -0.4, 1.2], method });
    const adapter = await readAdapter(openFolder(output));
    const ours = await ourLoss({ folder: base, attach: (target) => adapter.method.attach(target, adapter.config) }, adapter);
    expect(Math.abs(ours - (await ourLoss({ folder: base, attach: (target) => full.attach(target) })))).toBeGreaterThan(1e-3);
    expect(Math.abs(lossInPython("load_adapter.py", ["--base", base, "--adapter", output]) - ours)).toBeLessThan(1e-5);
  });

  it.each([{ name: "cat" }, { name: "svd", svdRank: 3 }, { name: "ties_svd", density: 0.5 }])(
    "adapter of experts: $name",
    async (method) => {
      const output = await merge(`experts-${method.name}`, { adapters: mixture.adapters, weights: [0.7, -0.4, 1.2], method });
      const adapter = await readAdapter(openFolder(output));
      const ours = await ourLoss({ folder: mixture.base, attach: (target) => adapter.method.attach(target, adapter.config) }, adapter);
      expect(Math.abs(ours - (await ourLoss({ folder: mixture.base, attach: (target) => full.attach(target) })))).toBeGreaterThan(1e-3);
      expect(Math.abs(lossInPython("load_adapter.py", ["--base", mixture.base, "--adapter", output]) - ours)).toBeLessThan(1e-5);
    },
  );

  it("model", async () => {
    const other = `${reference}families/llama-rope-linear`; // the same shapes with other values
    const output = await merge("soup", { models: [base, other], weights: [3, 1], method: { name: "soup" } });
    const ours = await ourLoss({ folder: output, attach: (target) => full.attach(target) });
    expect(Math.abs(lossInPython("load_merged.py", ["--model", output]) - ours)).toBeLessThan(1e-5);
  });
});
