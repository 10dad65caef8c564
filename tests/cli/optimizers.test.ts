/** Optimizers, groups, averages and a cached teacher through the command line. */
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { root, runCli } from "./run-cli.ts";

const folder = mkdtempSync(join(tmpdir(), "tunesmith-cli-optimizers-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const path = (name: string): string => join(folder, name);

const heldOut = path("held-out.jsonl");
writeFileSync(heldOut, readFileSync(join(root, "examples/quickstart/instructions.jsonl"), "utf8").split("\n").slice(0, 12).join("\n"));

function configure(name: string, more: string): string {
  writeFileSync(
    path(`${name}.yaml`),
    `model: examples/base-model/checkpoint\ndata: { train: examples/quickstart/instructions.jsonl, validation: ${heldOut} }\noutput: ${path(name)}\n${more}\n`,
  );
  return path(`${name}.yaml`);
}
const read = (name: string): string => readFileSync(path(name), "utf8");
const tunedLoss = (name: string): number => (JSON.parse(read(`${name}/results.json`)) as { tuned: { loss: number } }).tuned.loss;
const lastValidation = (name: string): number => {
  const rows = read(`${name}/metrics.jsonl`)
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as { eval_loss?: number });
  return rows.findLast(({ eval_loss }) => eval_loss !== undefined)!.eval_loss!;
};

describe("tunesmith train", () => {
  it.each([
    {
      name: "schedule-free",
      more: "optimizer: { name: schedule-free-adamw, learningRate: 0.01 }",
      says: /schedule:\n {2}name: constant\n {2}warmupRatio: 0.03/,
    },
    { name: "averaged", more: "optimizer: { name: lion, learningRate: 0.001, layerDecay: 0.9 }\n", says: /average:\n {4}name: ema/ },
  ])("saves the weights that it evaluated: $name", async ({ name, more, says }) => {
    const average = name === "averaged" ? ", average: { name: ema, decay: 0.7 }" : "";
    const { code, stderr } = await runCli(["train", configure(name, `${more}\ntraining: { maxSteps: 8, evalEvery: 4${average} }`)]);
    expect(stderr).not.toMatch(/error/i);
    expect(code).toBe(0);
    expect(read(`${name}/config.yaml`)).toMatch(says);
    const { stdout } = await runCli(["evaluate", path(name), heldOut, "--json"]);
    expect((JSON.parse(stdout) as { tuned: { loss: number } }).tuned.loss).toBeCloseTo(tunedLoss(name), 6);
    // The last validation saw the same weights and rows, in other batches.
    expect(tunedLoss(name)).toBeCloseTo(lastValidation(name), 3);
  });

  it("asks a teacher once, and goes on without it", async () => {
    const teacher = path("teacher-model");
    cpSync(join(root, "examples/base-model/checkpoint"), teacher, { recursive: true });
    const objective = `objective: { name: distillation, teacher: ${teacher}, topK: 8 }`;
    const config = configure("distilled", `${objective}\ntraining: { maxSteps: 6, evalEvery: 3, seed: 1 }`);
    const first = await runCli(["train", config], (line, child) => /step 3\/6/.test(line) && child.kill("SIGINT"));
    expect(first.stderr).toMatch(/asking the teacher for its 8 likeliest tokens at \d+ targets/);
    const files = readdirSync(path("distilled/teacher"));
    expect(files).toHaveLength(1);
    const made = statSync(path(`distilled/teacher/${files[0]}`)).mtimeMs;
    const second = await runCli(["train", config, "--resume"]);
    expect(second.stderr).not.toMatch(/asking the teacher/);
    expect(second.code).toBe(0);
    expect(statSync(path(`distilled/teacher/${files[0]}`)).mtimeMs).toBe(made);
    expect(tunedLoss("distilled")).toBeGreaterThan(0);
    expect((JSON.parse(read("distilled/manifest.json")) as { resumedFrom: { step: number }[] }).resumedFrom[0]!.step).toBeLessThan(6);
  });

  it.each([
    {
      what: "a group that matches nothing",
      more: 'optimizer: { name: adamw, groups: [{ parameters: ["*.lora_C.*"], learningRate: 0.01 }] }',
      code: 2,
      says: /optimizer\.groups\.0\.parameters: "\*\.lora_C\.\*" matches no trained parameter/,
    },
    {
      what: "a misspelt optimizer",
      more: "optimizer: { name: adafacto }",
      code: 2,
      says: /optimizer\.name: "adafacto" is not known\. Did you mean "adafactor"\?/,
    },
    {
      what: "Nesterov without momentum",
      more: "optimizer: { name: sgd, momentum: 0, nesterov: true }",
      code: 2,
      says: /optimizer\.nesterov: true does not fit.*momentum above 0/,
    },
    {
      what: "two averages",
      more: "optimizer: { name: schedule-free-adamw }\ntraining: { average: { name: swa } }",
      code: 2,
      says: /training\.average: schedule-free-adamw averages the weights by itself/,
    },
    {
      what: "misspelt keys inside lists and choices",
      more: "optimizer: { name: adamw, groups: [{ parameters: [x], lerningRate: 1 }] }\ntraining: { average: { name: ema, decy: 0.9 } }",
      code: 2,
      says: /optimizer\.groups\.0\.lerningRate: unknown key\. Did you mean "learningRate"\?.*training\.average\.decy: unknown key\. Did you mean "decay"\?/s,
    },
    {
      what: "more likeliest tokens than there are",
      more: "objective: { name: distillation, teacher: examples/base-model/checkpoint, topK: 999999 }",
      code: 2,
      says: /objective\.topK: 999999 is above the \d+ tokens of the vocabulary/,
    },
    {
      what: "the top of a divergence that reads everything",
      more: "objective: { name: distillation, teacher: x, topK: 4, divergence: reverse-kl }",
      code: 2,
      says: /objective\.topK: 4 does not fit.*forward-kl/,
    },
  ])("refuses $what", async ({ what, more, code, says }) => {
    const found = await runCli(["train", configure(what.replaceAll(" ", "-"), more)]);
    expect(found.stderr).toMatch(says);
    expect(found.code).toBe(code);
  });
});
