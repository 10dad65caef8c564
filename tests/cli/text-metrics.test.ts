/** Metrics of what models write, as a user asks for them: in a run and with evaluate; and what does not go together. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { runCli } from "./run-cli.ts";
import { smallT5, words, writeSmallCheckpoint } from "./small-checkpoint.ts";

const folder = mkdtempSync(join(tmpdir(), "tunesmith-text-metrics-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const t5 = join(folder, "t5");
const file = (name: string, rows: readonly object[]): string => {
  const path = join(folder, name);
  writeFileSync(path, rows.map((row) => JSON.stringify(row)).join("\n"));
  return path;
};
// Every target begins alike, so that a few steps teach something that can be written.
const pairs = file(
  "pairs.jsonl",
  Array.from({ length: 40 }, (_, i) => ({
    source: `${words[i % words.length]} ${words[(7 * i) % words.length]}`,
    target: "good warm day",
  })),
);
const run = join(folder, "run");
beforeAll(async () => {
  await writeSmallCheckpoint(t5, smallT5);
  writeFileSync(
    join(folder, "run.yaml"),
    `model: ${t5}
data: { train: ${pairs}, validationShare: 0.2 }
method: { name: full }
optimizer: { learningRate: 0.01 }
training: { maxSteps: 60, batchSize: 4, evalEvery: 60 }
evaluation: { metrics: [rouge-l, bleu, exact-match], maxNewTokens: 8, maxRows: 5 }
output: ${run}
`,
  );
});

interface Side {
  readonly perplexity: number;
  readonly metrics: Readonly<Record<string, number>>;
}

it("a run lets base and tuned model write, compares them with an interval, and shows what they wrote", async () => {
  const { code, stdout, stderr } = await runCli(["train", join(folder, "run.yaml")]);
  expect(stderr).not.toMatch(/error/i);
  expect(code).toBe(0);
  expect(stdout).toMatch(/perplexity +base [\d.]+ +tuned/);
  expect(stdout).toMatch(/rouge l +base 0\.0% +tuned 100\.0% +difference \+100\.0 points \(95% interval/);
  const results = JSON.parse(readFileSync(join(run, "results.json"), "utf8")) as { base: Side; tuned: Side; metricComparisons: object };
  expect(Object.keys(results.tuned.metrics)).toEqual(["eval_exact_match", "eval_rougeL", "eval_bleu"]);
  expect(results.tuned.metrics.eval_exact_match).toBe(1);
  expect(results.metricComparisons).toMatchObject({ eval_rougeL: { documents: 5, difference: 1 } });
  expect(readFileSync(join(run, "report.html"), "utf8")).toMatch(/Rouge l/);
});

it("evaluate lets a model write for the rows that it is given", async () => {
  const { code, stdout, stderr } = await runCli([
    "evaluate",
    run,
    pairs,
    "--metrics",
    "all",
    "--max-rows",
    "6",
    "--max-new-tokens",
    "8",
    "--json",
  ]);
  expect(code).toBe(0);
  expect(stderr).toMatch(/6 rows are answered for exact-match, rouge-1/);
  const figures = JSON.parse(stdout) as Record<string, number>;
  expect(figures).toMatchObject({ eval_exact_match: 1, eval_rouge1: 1, eval_rougeLsum: 1, eval_chrf: 1, eval_chrf_plus_plus: 1 });
  // Three words have no four in a row.
  expect(figures.eval_bleu).toBe(0);
});

it("evaluate asks for what the run was told, unless a flag says otherwise", async () => {
  const asTold = await runCli(["evaluate", run, pairs, "--json"]);
  expect(asTold.stderr).toMatch(/5 rows are answered for rouge-l, bleu, exact-match/);
  const figures = JSON.parse(asTold.stdout) as Record<string, number>;
  expect(figures).toMatchObject({ eval_exact_match: 1, eval_rougeL: 1 });
  expect(figures).not.toHaveProperty("eval_chrf");
  const fewer = await runCli(["evaluate", run, pairs, "--max-rows", "2", "--metrics", "rouge-l", "--rouge-stemmer"]);
  expect(fewer.stderr).toMatch(/2 rows are answered for rouge-l/);
  const none = await runCli(["evaluate", run, pairs, "--metrics", "none"]);
  expect([none.code, none.stderr]).toEqual([0, expect.not.stringMatching(/answered/)]);
});

it("a decoder answers conversations, base and tuned in beams of two", async () => {
  const rows = file(
    "questions.jsonl",
    readFileSync("examples/quickstart/instructions.jsonl", "utf8")
      .split("\n")
      .slice(0, 4)
      .map((line) => JSON.parse(line) as object),
  );
  const parts = ["examples/base-model/checkpoint", rows, "--metrics", "chrf", "rouge-1", "--max-new-tokens", "12", "--num-beams", "2"];
  const { code, stdout } = await runCli(["evaluate", ...parts]);
  expect(code).toBe(0);
  expect(stdout).toMatch(/perplexity [\d.]+ .*rouge 1 [\d.]+% +chrf [\d.]+%/);
});

it.each([
  [
    "a metric that is misspelt",
    ["--metrics", "rouge-3", "bleu"],
    /"rouge-3" is not a metric of the task seq2seq-lm\. Did you mean "rouge-\d"/,
  ],
  ["part of a row that is none", ["--loss-on", "asistant"], /'asistant' is invalid\. Allowed choices are assistant, last-assistant, all/],
  ["options of answers without any", ["--max-rows", "3"], /maxRows is about the answers that are compared.*--metrics all/],
])("refuses %s", async (_, flags, says) => {
  const { code, stderr } = await runCli(["evaluate", t5, pairs, ...flags]);
  expect(code).toBe(2);
  expect(stderr).toMatch(says);
});

it("plain text asks nothing that could be answered", async () => {
  const plain = file("plain.jsonl", [{ text: "The sun is warm." }]);
  const { code, stderr } = await runCli(["evaluate", "examples/base-model/checkpoint", plain, "--metrics", "bleu"]);
  expect(code).toBe(1);
  expect(stderr).toMatch(/plain\.jsonl:1: a text row without a question and its answer/);
});
