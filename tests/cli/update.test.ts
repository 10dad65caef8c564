/** `tunesmith update`: an earlier run goes on with new data; replay and guards hold what it had learned. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { runCli } from "./run-cli.ts";

const folder = mkdtempSync(join(tmpdir(), "tunesmith-update-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const path = (name: string): string => join(folder, name);
const first = path("first");

/** Documents that say the opposite of what the quickstart taught. */
const newRows = Array.from({ length: 60 }, (_, i) => ({
  instruction: `Count from ${i} in steps of ${(i % 7) + 2}.`,
  output: Array.from({ length: 5 }, (__, n) => i + n * ((i % 7) + 2)).join(" "),
}));

beforeAll(async () => {
  writeFileSync(
    path("first.yaml"),
    `model: examples/base-model/checkpoint
data: { train: examples/quickstart/instructions.jsonl, validationShare: 0.05 }
method: { name: lora, rank: 4 }
optimizer: { name: adamw, learningRate: 0.003 }
training: { maxSteps: 12 }
output: ${first}
`,
  );
  writeFileSync(path("new.jsonl"), newRows.map((row) => JSON.stringify(row)).join("\n"));
  expect((await runCli(["train", path("first.yaml")])).code).toBe(0);
});

function config(name: string, update: string): string {
  writeFileSync(
    path(`${name}.yaml`),
    `data: { train: ${path("new.jsonl")} }
optimizer: { name: adamw, learningRate: 0.01 }
training: { maxSteps: 24, evalEvery: 24, maxGradNorm: 0 }
${update === "" ? "" : `update: ${update}`}
output: ${path(name)}
`,
  );
  return path(`${name}.yaml`);
}

interface Results {
  base: { loss: number };
  tuned: { loss: number };
  earlier: { before: number; after: number; documents: number };
}
async function update(name: string, section: string): Promise<Results> {
  const { code, stdout, stderr } = await runCli(["update", first, config(name, section)]);
  expect(stderr).not.toMatch(/error/i);
  expect(code).toBe(0);
  expect(stdout).toMatch(/earlier data\s+before \d+\.\d+\s+after \d+\.\d+\s+difference [+-]\d/);
  return JSON.parse(readFileSync(path(`${name}/results.json`), "utf8")) as Results;
}

describe("tunesmith update", () => {
  it("starts where the earlier run ended, learns the new data, and shows what it forgets; every guard makes that less", async () => {
    const free = await update("free", "{ replayShare: 0 }");
    const finished = JSON.parse(readFileSync(join(first, "results.json"), "utf8")) as Results;
    expect(free.earlier.before).toBeCloseTo(finished.tuned.loss, 4);
    expect(free.tuned.loss).toBeLessThan(free.base.loss - 1);
    expect(free.earlier.after).toBeGreaterThan(free.earlier.before + 0.1);
    const guarded = {
      replay: await update("replay", "{ replayShare: 0.5 }"),
      l2sp: await update("l2sp", "{ replayShare: 0, l2sp: 1 }"),
      ewc: await update("ewc", "{ replayShare: 0, ewc: { strength: 30, documents: 16 } }"),
      kl: await update("kl", "{ replayShare: 0, kl: 3 }"),
    };
    for (const [name, { base, tuned, earlier }] of Object.entries(guarded)) {
      expect(earlier.after, name).toBeLessThan(free.earlier.after);
      expect(tuned.loss, name).toBeLessThan(base.loss);
    }
  });

  it("records where the model comes from", () => {
    const { lineage } = JSON.parse(readFileSync(path("free/manifest.json"), "utf8")) as {
      lineage: { run: string; weights: { file: string; sha256: string }[] }[];
    };
    expect(lineage.map(({ run }) => run)).toEqual([first]);
    expect(lineage[0]!.weights.map(({ file }) => file)).toEqual(["adapter_model.safetensors"]);
  });

  it("continues an update in its turn, with the rows of both", async () => {
    writeFileSync(
      path("third.yaml"),
      `data: { train: examples/quickstart/instructions.jsonl }\ntraining: { maxSteps: 2 }\nupdate: { replayShare: 0.2 }\noutput: ${path("third")}\n`,
    );
    expect((await runCli(["update", path("replay"), path("third.yaml")])).code).toBe(0);
    const { lineage } = JSON.parse(readFileSync(path("third/manifest.json"), "utf8")) as { lineage: { run: string }[] };
    expect(lineage.map(({ run }) => run)).toEqual([first, path("replay")]);
  });

  it("refuses what is no finished run, and a configuration with a model of its own", async () => {
    const nowhere = await runCli(["update", folder, config("nowhere", "")]);
    expect([nowhere.code, nowhere.stderr]).toEqual([2, expect.stringMatching(/is not the folder of a run/)]);
    writeFileSync(path("own.yaml"), `model: x\ndata: { train: ${path("new.jsonl")} }\noutput: ${path("own")}\n`);
    const own = await runCli(["update", first, path("own.yaml")]);
    expect([own.code, own.stderr]).toEqual([2, expect.stringMatching(/model: is taken from the earlier run/)]);
  });
});
