/** Tags, answers, choices and embeddings as a user runs them on a small random BERT: train, evaluate, and ask the tuned model. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { runCli } from "./run-cli.ts";
import { smallBert, words, writeSmallCheckpoint } from "./small-checkpoint.ts";

const folder = mkdtempSync(join(tmpdir(), "tunesmith-label-tasks-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const bert = join(folder, "bert");
beforeAll(() => writeSmallCheckpoint(bert, { ...smallBert, classifier_dropout: 0 }));

const word = (i: number): string => words[i % words.length]!;
const colours = words.slice(0, 3);
const others = words.slice(3);
const isColour = (one: string): boolean => colours.includes(one);
const sentence = (i: number): string[] =>
  Array.from({ length: 4 }, (_, k) => (k === i % 4 ? colours[i % 3]! : others[(5 * i + 3 * k) % others.length]!));
const sentences = Array.from({ length: 60 }, (_, i) => sentence(i));
const startOf = (text: string[]): number => text.slice(0, text.findIndex(isColour)).reduce((sum, one) => sum + one.length + 1, 0);

const rowsOf: Readonly<Record<string, readonly object[]>> = {
  "token-classification": sentences.map((tokens) => ({ tokens, ner_tags: tokens.map((one) => (isColour(one) ? "B-COLOUR" : "O")) })),
  "question-answering": sentences.map((tokens, i) => ({
    ...{ id: `q${i}`, question: "six", context: tokens.join(" ") },
    answers: { text: [tokens.find(isColour)], answer_start: [startOf(tokens)] },
  })),
  "multiple-choice": sentences.map((tokens, i) => {
    const choices = [others[i % others.length]!, others[(i + 7) % others.length]!, others[(i + 3) % others.length]!];
    choices[i % 3] = colours[(2 * i) % 3]!;
    return { question: tokens.filter((one) => !isColour(one)).join(" "), choices, answer: i % 3 };
  }),
  "sentence-embeddings": sentences.map((_, i) => ({
    anchor: `${word(i)} one`,
    positive: `two ${word(i)}`,
    negative: `two ${word(i + 5)}`,
  })),
};

/** Rows of a task in a file, and a run over them. */
async function train(task: string, extra = "") {
  const file = join(folder, `${task}.jsonl`);
  writeFileSync(file, rowsOf[task]!.map((row) => JSON.stringify(row)).join("\n"));
  const config = join(folder, `${task}.yaml`);
  writeFileSync(
    config,
    `model: ${bert}
data: { train: ${file}, validationShare: 0.2, packing: ${task === "multiple-choice"} }
task: { name: ${task}${extra} }
method: { name: lora, rank: 8, targetModules: all-linear }
optimizer: { learningRate: 0.02 }
training: { maxSteps: 60, batchSize: 8, evalEvery: 60 }
output: ${join(folder, task)}
`,
  );
  const { code, stdout, stderr } = await runCli(["train", config, "--json"]);
  expect(code, stderr).toBe(0);
  return {
    file,
    run: join(folder, task),
    ...(JSON.parse(stdout) as { base: Measured; tuned: Measured; metricComparisons: Record<string, { low: number }> }),
  };
}
interface Measured {
  loss: number;
  metrics: Record<string, number>;
}

const ask = async (args: readonly string[]): Promise<Record<string, unknown>[]> => {
  const { code, stdout, stderr } = await runCli(args);
  expect(code, stderr).toBe(0);
  return stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Record<string, unknown>);
};

describe("tasks over labels from the command line", () => {
  it("finds the tags of words", async () => {
    const { run, file, tuned, metricComparisons } = await train("token-classification");
    expect(tuned.metrics.eval_entity_f1).toBe(1);
    expect(metricComparisons.eval_entity_f1!.low).toBeGreaterThan(0);
    const [said] = await ask(["classify", run, "good red day"]);
    expect((said!.words as { word: string; label: string }[]).map(({ word, label }) => [word, label])).toEqual([
      ["good", "O"],
      ["red", "B-COLOUR"],
      ["day", "O"],
    ]);
    const evaluated = await runCli(["evaluate", run, file]);
    expect(evaluated.stdout).toMatch(/entity f1 100\.0%/);
    expect(readFileSync(join(run, "adapter/adapter_config.json"), "utf8")).toContain('"task_type": "TOKEN_CLS"');
  });

  it("finds answers in texts", async () => {
    const { run, tuned } = await train("question-answering", ", docStride: 2, maxAnswerLength: 4");
    expect(tuned.metrics.eval_exact_match).toBeGreaterThan(0.9);
    const [said] = await ask(["answer", run, "six", "warm cold blue rain", "--max-length", "24"]);
    expect(said).toMatchObject({ question: "six", answer: "blue", start: 10, end: 14 });
    expect((await runCli(["answer", run, "six"])).stderr).toMatch(/the text that holds the answer is missing/);
  });

  it("chooses", async () => {
    const { run, tuned } = await train("multiple-choice");
    expect(tuned.metrics.eval_accuracy).toBeGreaterThan(0.9);
    const asked = join(folder, "asked.jsonl");
    writeFileSync(asked, JSON.stringify({ question: "warm", choices: ["day", "sun", "green"] }));
    const [said] = await ask(["classify", run, "--file", asked]);
    expect(said).toMatchObject({ choice: "green", index: 2 });
  });

  it("brings texts that belong together near each other", async () => {
    const { run, base, tuned } = await train("sentence-embeddings");
    expect(tuned.loss).toBeLessThan(base.loss);
    expect(tuned.metrics.eval_mean_reciprocal_rank).toBeGreaterThan(base.metrics.eval_mean_reciprocal_rank!);
    const [a, b, c] = (await ask(["embed", run, "red one", "two red", "two night", "--normalize"])).map(
      ({ embedding }) => embedding as number[],
    );
    const dot = (x: number[], y: number[]): number => x.reduce((sum, value, i) => sum + value * y[i]!, 0);
    expect(dot(a!, a!)).toBeCloseTo(1, 5);
    expect(dot(a!, b!)).toBeGreaterThan(dot(a!, c!));
    const [merged, onnx] = [join(folder, "embeddings-merged"), join(folder, "embeddings-onnx")];
    expect((await runCli(["export", run, merged])).code).toBe(0);
    expect((await runCli(["export", merged, onnx, "--format", "onnx"])).stdout).toMatch(/onnx\/model\.onnx/);
  });

  it("embeds with a model that was trained for no task", async () => {
    const [said] = await ask(["embed", bert, "red", "--pooling", "first"]);
    expect(said!.embedding).toHaveLength(24);
  });

  it("says what a model is for, where it is asked for something else", async () => {
    const { code, stderr } = await runCli(["classify", bert, "red"]);
    expect(stderr).toMatch(/is a model for writing text; this command needs one for sequence-classification or token-classification/);
    expect(code).toBe(2);
  });
});
