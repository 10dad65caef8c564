/** A checkpoint that others trained, tuned on real dialogues: the held-out gain is there, and its interval says so. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { sharedData, skipWithout } from "../shared-data.ts";
import { runCli } from "./run-cli.ts";

const folder = mkdtempSync(join(tmpdir(), "tunesmith-real-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe.skipIf(skipWithout("models"))("real checkpoints", () => {
  it.each([
    ["chat-gpt2", "dialogue/soda_chat.jsonl", "{ maxSteps: 60, batchSize: 4 }"],
    ["stories260k-llama", "text/tinyshakespeare_first90.txt", "{ maxSteps: 30, batchSize: 2 }"],
  ])("%s learns from %s", async (model, data, training) => {
    const config = join(folder, `${model}.yaml`);
    writeFileSync(
      config,
      `model: ${sharedData}/models/${model}\ndata: { train: ${sharedData}/${data}, validationShare: 0, testShare: 0.15, maxLength: 256 }\noptimizer: { name: adamw, learningRate: 1.0e-3 }\ntraining: ${training}\noutput: ${join(folder, model)}\n`,
    );
    const { code, stdout, stderr } = await runCli(["train", config, "--json"]);
    expect(code, stderr).toBe(0);
    const { comparison } = JSON.parse(stdout) as { comparison: { difference: number; high: number } };
    expect(comparison.high).toBeLessThan(0);
  });

  it("chat-gpt2 learns to tell praise from blame (SST-2), and classifies", async () => {
    const config = join(folder, "sst2.yaml");
    const data = `${sharedData}/classification`;
    writeFileSync(
      config,
      `model: ${sharedData}/models/chat-gpt2
data: { train: ${data}/sst2_train.tsv.gz, validation: ${data}/sst2_dev.tsv, maxLength: 64 }
task: { name: sequence-classification }
method: { name: lora, rank: 16, targetModules: all-linear }
optimizer: { learningRate: 1.0e-3 }
training: { maxSteps: 80, batchSize: 8, evalEvery: 80 }
output: ${join(folder, "sst2")}
`,
    );
    const { code, stdout, stderr } = await runCli(["train", config, "--json"]);
    expect(code, stderr).toBe(0);
    const { metricComparisons } = JSON.parse(stdout) as { metricComparisons: Record<string, { low: number; documents: number }> };
    expect(metricComparisons.eval_accuracy!.documents).toBe(872);
    expect(metricComparisons.eval_accuracy!.low).toBeGreaterThan(0.05);
    const said = await runCli(["classify", join(folder, "sst2"), "a gorgeous , witty , seductive movie"]);
    expect(JSON.parse(said.stdout)).toMatchObject({ label: "1" });
  });
});
