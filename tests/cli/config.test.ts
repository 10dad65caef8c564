/** Files for `pretrain`: checked by `config validate`, and known for what they are where another command gets one. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { runCli } from "./run-cli.ts";

const folder = mkdtempSync(join(tmpdir(), "tunesmith-config-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const example = "examples/base-model/pretrain.yaml";

function file(name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

it("fills a file for pretrain in, and takes what it printed", async () => {
  const { code, stdout } = await runCli(["config", "validate", example]);
  expect(code).toBe(0);
  expect(stdout).toMatch(/initializerRange: 0.02[\s\S]*gradientAccumulationSteps: 1/);
  expect(stdout).not.toMatch(/^(model|method):/m);
  expect((await runCli(["config", "validate", file("printed.yaml", stdout)])).stdout).toBe(stdout);
});

it("says everything that is wrong with the recipe", async () => {
  const wrong = file("wrong.yaml", "pretrain: { architecture: {}, tokenizer: { vocabSize: 3 } }\n");
  const { code, stderr } = await runCli(["config", "validate", wrong]);
  expect(code).toBe(2);
  expect(stderr).toMatch(/pretrain\.architecture\.model_type: [\s\S]*pretrain\.tokenizer\.vocabSize: .*>=300/);
});

it("refuses a model beside the recipe of one", async () => {
  const both = file("both.yaml", "pretrain: { architecture: { model_type: llama }, tokenizer: { vocabSize: 300 } }\nmodel: llama\n");
  const { code, stderr } = await runCli(["pretrain", both]);
  expect(code).toBe(2);
  expect(stderr).toContain("model: pretrain makes a new model and trains all of it. Leave model out.");
});

it("train names the command that takes it", async () => {
  const { code, stderr } = await runCli(["train", example]);
  expect(code).toBe(2);
  expect(stderr).toContain("pretrain: makes a new model, for which the command is tunesmith pretrain <file>.");
});
