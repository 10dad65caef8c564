/** QLoRA as users run it: a run on a quantised base, what is done with its adapter, and what is refused. */
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { root, runCli } from "./run-cli.ts";

const folder = mkdtempSync(join(tmpdir(), "tunesmith-quantized-"));
const checkpoint = join(root, "examples/base-model/checkpoint");
const run = join(folder, "run");
const home = process.env.HF_HOME;

beforeAll(async () => {
  process.env.HF_HOME = join(folder, "home"); // where copies are kept
  writeFileSync(
    join(folder, "run.yaml"),
    `model: ${checkpoint}\ndata: { train: ${join(root, "examples/quickstart/instructions.jsonl")} }\nmethod: { name: lora, rank: 4 }\n` +
      `quantization: { format: nf4 }\ntraining: { maxSteps: 4 }\noutput: ${run}\n`,
  );
  const { code, stderr } = await runCli(["train", join(folder, "run.yaml")]);
  expect(stderr).toMatch(/quantised 28 weights of .*the next run reads them/);
  expect(code).toBe(0);
}, 120_000);
afterAll(() => {
  if (home === undefined) delete process.env.HF_HOME;
  else process.env.HF_HOME = home;
  rmSync(folder, { recursive: true, force: true });
});

/** The checkpoint with other weights of the same shapes. */
function otherBase(): string {
  const path = join(folder, "other");
  if (!existsSync(path)) {
    cpSync(checkpoint, path, { recursive: true });
    const bytes = readFileSync(join(path, "model.safetensors"));
    const start = 8 + Number(bytes.readBigUInt64LE(0));
    for (let i = start; i < start + 200; i += 2) bytes[i]! ^= 1;
    writeFileSync(join(path, "model.safetensors"), bytes);
  }
  return path;
}

it("evaluates on the base as it was held", async () => {
  const { code, stdout, stderr } = await runCli(["evaluate", run, join(root, "examples/quickstart/instructions.jsonl"), "--json"]);
  expect(code, stderr).toBe(0);
  expect(stderr).not.toContain("quantised 28 weights"); // the copy was read
  const { base, tuned } = JSON.parse(stdout) as { base: { loss: number }; tuned: { loss: number } };
  expect(tuned.loss).toBeLessThan(base.loss);
});

it("generates", async () => {
  const { code, stdout } = await runCli(["generate", run, "What does the bear eat?", "--max-new-tokens", "4"]);
  expect(code).toBe(0);
  expect(stdout.trim()).not.toBe("");
});

it("does not fold the adapter into codes, and leaves nothing behind", async () => {
  const target = join(folder, "merged");
  const { code, stderr } = await runCli(["export", run, target]);
  expect(code).toBe(1);
  expect(stderr).toMatch(/_proj\.weight is quantised, and an adapter cannot be folded into codes\. Export with --dequantize/);
  expect(existsSync(target)).toBe(false);
});

it("folds it into the rounded weights when asked to", async () => {
  const target = join(folder, "dequantized");
  expect((await runCli(["export", run, target, "--dequantize"])).code).toBe(0);
  expect(readdirSync(target)).toContain("model.safetensors");
  const merged = await runCli(["evaluate", target, join(root, "examples/quickstart/instructions.jsonl"), "--json"]);
  const tuned = await runCli(["evaluate", run, join(root, "examples/quickstart/instructions.jsonl"), "--json"]);
  const losses = [
    (JSON.parse(merged.stdout) as { loss: number }).loss,
    (JSON.parse(tuned.stdout) as { tuned: { loss: number } }).tuned.loss,
  ];
  expect(Math.abs(losses[0]! - losses[1]!)).toBeLessThan(2e-2); // written in the base's bfloat16
});

it("writes the adapter for Python PEFT", async () => {
  const target = join(folder, "peft");
  expect((await runCli(["export", run, target, "--format", "peft"])).code).toBe(0);
  expect(readdirSync(target).sort()).toEqual(["adapter_config.json", "adapter_model.safetensors", "tunesmith.json"]);
});

it("notices an adapter of another base", async () => {
  const { code, stderr } = await runCli(["generate", otherBase(), "Hello", "--adapter", join(run, "adapter")]);
  expect(code).toBe(1);
  expect(stderr).toMatch(
    /the adapter was trained on .*checkpoint \(weights [0-9a-f]{12}\), and .*other has other weights \([0-9a-f]{12}\)/,
  );
});

it("takes an adapter without a record on any base that it fits", async () => {
  const adapter = join(folder, "unrecorded");
  cpSync(join(run, "adapter"), adapter, { recursive: true });
  rmSync(join(adapter, "tunesmith.json"));
  expect((await runCli(["generate", otherBase(), "Hello", "--adapter", adapter, "--max-new-tokens", "2"])).code).toBe(0);
});

it("names the known kinds where an adapter's is unknown", async () => {
  const adapter = join(folder, "unknown");
  cpSync(join(run, "adapter"), adapter, { recursive: true });
  const file = join(adapter, "adapter_config.json");
  writeFileSync(file, readFileSync(file, "utf8").replace('"LORA"', '"LORRA"'));
  const { code, stderr } = await runCli(["generate", checkpoint, "Hello", "--adapter", adapter]);
  expect(code).toBe(1);
  expect(stderr).toMatch(/the adapter type "LORRA" is not supported.*known: .*LORA/);
});

it.each([
  ["method: { name: full }\nquantization: { format: nf4 }", /quantization: the method full trains every weight; codes cannot be trained/],
  ["quantization: { format: nf5 }", /quantization\.format: "nf5" is not known. Did you mean "nf4"\? Known: nf4, int8/],
  ["quantization: { format: nf4, blokSize: 64 }", /quantization\.blokSize: unknown key. Did you mean "blockSize"\?/],
  ["quantization: { format: nf4, blockSize: 100 }", /quantization\.blockSize: 100 does not fit\. .*32\|64\|128\|256/],
  ["method: { name: lora, initLoraWeights: loftq }", /loftq starts from what a quantised base rounds away.*Add quantization/],
  [
    'method: { name: lora, targetModules: ".*\\\\.q_prj" }',
    /the pattern \/\.\*\\\.q_prj\/ matches no linear layer\. Did you mean "q_proj"\?/,
  ],
  [
    "method: { name: prefix-tuning, numVirtualTokens: 4096 }",
    /numVirtualTokens: 4096 virtual tokens leave no room in the model's \d+ positions/,
  ],
])("refuses %s", async (extra, message) => {
  const file = join(folder, "wrong.yaml");
  writeFileSync(
    file,
    `model: ${checkpoint}\ndata: { train: ${join(root, "examples/quickstart/instructions.jsonl")} }\n${extra}\ntraining: { maxSteps: 1 }\noutput: ${join(folder, "wrong")}\n`,
  );
  const { code, stderr } = await runCli(["train", file]);
  expect(stderr).toMatch(message);
  expect(code).toBe(2);
});
