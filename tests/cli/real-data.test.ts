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
});
