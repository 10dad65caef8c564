/** `tunesmith train` as a user runs it: a whole run, an interrupt, a kill at any moment, and what each leaves behind. */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { root, runCli } from "./run-cli.ts";

const folder = mkdtempSync(join(tmpdir(), "tunesmith-cli-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function writeConfig(name: string, extra = ""): string {
  const file = join(folder, `${name}.yaml`);
  writeFileSync(
    file,
    `model: examples/base-model/checkpoint
data: { train: examples/quickstart/instructions.jsonl, validationShare: 0.1 }
method: { name: lora, rank: 4, loraDropout: 0.1 }
training: { maxSteps: 16, batchSize: 1, evalEvery: 8, saveEvery: 2 }
output: ${join(folder, name)}
${extra}`,
  );
  return file;
}

interface Row {
  step: number;
  loss?: number;
  eval_loss?: number;
}
const metrics = (name: string): Row[] =>
  readFileSync(join(folder, name, "metrics.jsonl"), "utf8")
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Row);
const losses = (name: string): [number, number][] =>
  metrics(name).flatMap(({ step, loss }) => (loss === undefined ? [] : [[step, loss] as [number, number]]));

describe("tunesmith train", () => {
  it("leaves a whole run behind", async () => {
    const { code, stdout } = await runCli(["train", writeConfig("whole", 'samples: ["What does the bear eat?"]')]);
    expect(code).toBe(0);
    expect(stdout).toMatch(/held-out loss\s+base \d+\.\d+\s+tuned \d+\.\d+\s+difference [+-]\d/);
    for (const file of [
      "config.yaml",
      "manifest.json",
      "metrics.jsonl",
      "results.json",
      "report.html",
      "adapter/adapter_config.json",
      "adapter/adapter_model.safetensors",
    ]) {
      expect(existsSync(join(folder, "whole", file)), file).toBe(true);
    }
    expect(losses("whole").map(([step]) => step)).toEqual(Array.from({ length: 16 }, (_, i) => i + 1));
    const again = await runCli(["train", join(folder, "whole.yaml")]);
    expect(again.code).toBe(2);
    expect(again.stderr).toMatch(/already holds a run.*--resume/);
  });

  it("finishes the step and saves when interrupted, and continues the same curve", async () => {
    const config = writeConfig("interrupted");
    const first = await runCli(["train", config], (line, child) => /^step +5\//.test(line) && child.kill("SIGINT"));
    expect(first.stderr).toMatch(/interrupted after step \d+; everything is saved/);
    const second = await runCli(["train", config, "--resume"]);
    expect(second.code).toBe(0);
    expect(losses("interrupted")).toEqual(losses("whole"));
  });

  it("loses nothing but the steps since the last checkpoint when killed", async () => {
    const config = writeConfig("killed");
    for (const step of [3, 6, 9]) {
      const { signal } = await runCli(
        ["train", config, ...(step === 3 ? [] : ["--resume"])],
        (line, child) => new RegExp(`^step +${step}/`).test(line) && child.kill("SIGKILL"),
      );
      expect(signal).toBe("SIGKILL");
    }
    const last = await runCli(["train", config, "--resume"]);
    expect(last.code).toBe(0);
    expect(last.stderr).toMatch(/resumed from step (8|10|12|14)/);
    expect(losses("killed")).toEqual(losses("whole"));
  });

  it("refuses a configuration that changed", async () => {
    const { code, stderr } = await runCli(["train", join(folder, "whole.yaml"), "method.rank=8", "--resume"]);
    expect(code).toBe(2);
    expect(stderr).toMatch(/method\.rank: was 4 when the run began, is 8 now/);
  });

  it("refuses data that changed, and records every resumption", async () => {
    const data = join(folder, "rows.jsonl");
    const rows = readFileSync(join(root, "examples/quickstart/instructions.jsonl"), "utf8");
    writeFileSync(data, rows);
    const config = writeConfig("changed");
    const overrides = [`data.train=${data}`];
    await runCli(["train", config, ...overrides], (line, child) => /^step +5\//.test(line) && child.kill("SIGINT"));
    writeFileSync(data, rows.slice(rows.indexOf("\n") + 1));
    const refused = await runCli(["train", config, ...overrides, "--resume"]);
    expect(refused.code).toBe(2);
    expect(refused.stderr).toMatch(/rows\.jsonl has changed since the run began/);
    writeFileSync(data, rows);
    expect((await runCli(["train", config, ...overrides, "--resume"])).code).toBe(0);
    const manifest = JSON.parse(readFileSync(join(folder, "changed", "manifest.json"), "utf8")) as {
      status: string;
      resumedFrom: unknown[];
    };
    expect(manifest).toMatchObject({ status: "completed", resumedFrom: [{}] });
  });

  it("evaluates, generates and exports what it trained", async () => {
    const run = join(folder, "whole");
    const evaluated = await runCli(["evaluate", run, "examples/quickstart/instructions.jsonl", "--json"]);
    expect(evaluated.code).toBe(0);
    const { base, tuned, comparison } = JSON.parse(evaluated.stdout) as {
      base: { loss: number };
      tuned: { loss: number };
      comparison: { high: number };
    };
    expect(tuned.loss).toBeLessThan(base.loss);
    expect(comparison.high).toBeLessThan(0);

    const merged = join(folder, "merged");
    expect((await runCli(["export", run, merged])).code).toBe(0);
    const ask = ["What is the opposite of big?", "--temperature", "0", "--max-new-tokens", "20"];
    const [fromAdapter, fromMerged] = [await runCli(["generate", run, ...ask]), await runCli(["generate", merged, ...ask])];
    expect(fromAdapter.code).toBe(0);
    expect(fromMerged.stdout).toBe(fromAdapter.stdout);
    const wrong = await runCli(["export", run, merged]);
    expect(wrong.stderr).toMatch(/exists already/);
  });

  it("plans without training", async () => {
    const { code, stdout } = await runCli(["train", writeConfig("planned"), "--dry-run", "--json"]);
    expect(code).toBe(0);
    const plan = JSON.parse(stdout) as { peakBytes: number; secondsPerStep: number };
    expect(plan.peakBytes).toBeGreaterThan(1e7);
    expect(plan.secondsPerStep).toBeGreaterThan(0);
    expect(existsSync(join(folder, "planned"))).toBe(false);
  });
});
