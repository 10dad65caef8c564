/** Files for every command: checked by `config validate`, and known for what they are where another command gets one. */
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

it("fills a file for update in without naming a run", async () => {
  const data = "data: { train: rows.jsonl }\noutput: runs/second\n";
  const { code, stdout } = await runCli(["config", "validate", file("update.yaml", `${data}update: { l2sp: 0.1 }\n`)]);
  expect(code).toBe(0);
  expect(stdout).toMatch(/^update:\n {2}replayShare: 0.1\n {2}l2sp: 0.1\n {2}kl: 0\n/);
  expect((await runCli(["config", "validate", file("again.yaml", stdout)])).stdout).toBe(stdout);
  const { stderr } = await runCli(["config", "validate", file("method.yaml", `${data}update: {}\nmethod: { name: lora }\n`)]);
  expect(stderr).toContain("method: is taken from the earlier run. Leave it out.");
});

it("prints an example that is right", async () => {
  const { stdout } = await runCli(["config", "example"]);
  expect((await runCli(["config", "validate", file("example.yaml", stdout)])).code).toBe(0);
  const uncommented = file("all.yaml", stdout.replace("# quantization", "quantization"));
  expect((await runCli(["config", "validate", uncommented])).stdout).toContain("compute: int8");
});

it.each([["train"], ["pretrain"], ["update", "runs/first"], ["merge"], ["config", "validate"]])(
  "%s says that there is no file",
  async (...args) => {
    const { code, stderr } = await runCli([...args, "nowhere.yaml"]);
    expect(code).toBe(2);
    expect(stderr).toMatch(/^error: nowhere\.yaml cannot be read: ENOENT\. Name a (configuration|recipe) file.*\.\n$/);
  },
);

it("train names the command that takes it", async () => {
  const { code, stderr } = await runCli(["train", example]);
  expect(code).toBe(2);
  expect(stderr).toContain("pretrain: makes a new model, for which the command is tunesmith pretrain <file>.");
});
