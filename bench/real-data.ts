/**
 * npx tsx bench/real-data.ts [words]: checkpoints that others trained, tuned on real data: held-out loss, or accuracy of labels, against base with
 * its interval. With words only the rows whose model or data have one of them ("sst2"). Needs the shared data (TUNESMITH_SHARED_DATA) and a build.
 */
import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

const root = resolve(import.meta.dirname, "..");
const shared = process.env.TUNESMITH_SHARED_DATA ?? resolve(root, "../shared/data");
if (!existsSync(shared)) {
  console.error(`There is no shared data at ${shared}. Name its folder in TUNESMITH_SHARED_DATA.`);
  process.exit(2);
}

interface Comparison {
  readonly difference: number;
  readonly low: number;
  readonly high: number;
  readonly documents: number;
}
interface Measured {
  readonly loss: number;
  readonly metrics: Readonly<Record<string, number>>;
}
/** results.json. */
interface Result {
  readonly base: Measured;
  readonly tuned: Measured;
  readonly comparison: Comparison;
  readonly metricComparisons: Readonly<Record<string, Comparison>>;
}

const share = "validationShare: 0.1, testShare: 0.15, maxLength: 256";
const texts = [
  { model: "stories260k-llama", data: "text/tinystories_instruct.jsonl", rate: 1e-3, training: "{ epochs: 4, batchSize: 2 }" },
  { model: "stories260k-llama", data: "text/tinyshakespeare_first90.txt", rate: 3e-3, training: "{ maxSteps: 120, batchSize: 4 }" },
  { model: "chat-gpt2", data: "dialogue/soda_chat.jsonl", rate: 1e-3, training: "{ epochs: 2, batchSize: 4 }" },
  { model: "chat-gpt2", data: "instruct/rasbt_instruction.json", rate: 1e-3, training: "{ epochs: 4, batchSize: 4 }" },
].map((job) => ({ ...job, more: `data: { train: ${shared}/${job.data}, ${share} }` }));
const labels = [
  {
    ...{ model: "chat-gpt2", data: "classification/sst2_train.tsv.gz", rate: 1e-3, training: "{ epochs: 3, batchSize: 8 }" },
    more: `data: { train: ${shared}/classification/sst2_train.tsv.gz, validation: ${shared}/classification/sst2_dev.tsv, maxLength: 64 }\ntask: { name: sequence-classification }`,
  },
];
type Job = (typeof texts)[number];

const folder = mkdtempSync(join(tmpdir(), "tunesmith-real-"));

function train({ model, rate, training, more }: Job): Result {
  const config = join(folder, "run.yaml");
  const output = mkdtempSync(join(folder, "run-"));
  const lines = [
    `model: ${shared}/models/${model}`,
    more,
    "method: { name: lora, rank: 16 }",
    `optimizer: { name: adamw, learningRate: ${rate} }`,
    `training: ${training}`,
    `output: ${join(output, "run")}`,
  ];
  writeFileSync(config, `${lines.join("\n")}\n`);
  const json = execFileSync(process.execPath, [join(root, "dist/cli/main.js"), "train", config, "--json"], {
    ...{ encoding: "utf8", stdio: ["ignore", "pipe", "pipe"], maxBuffer: 2 ** 28 },
  });
  return JSON.parse(json) as Result;
}

interface Table {
  readonly header: string;
  readonly jobs: readonly Job[];
  /** Base, tuned, and the difference with its interval in one unit. */
  cells(result: Result): {
    readonly base: string;
    readonly tuned: string;
    readonly comparison: Comparison;
    readonly show: (value: number) => string;
  };
}

const tables: readonly Table[] = [
  {
    header: "| model | data | loss of base | tuned | difference (95% interval) | held-out documents | seconds |",
    jobs: texts,
    cells({ base, tuned, comparison }) {
      const show = (value: number): string => value.toFixed(3);
      return { base: show(base.loss), tuned: show(tuned.loss), comparison, show };
    },
  },
  {
    header: "| model | data | accuracy of base | tuned | difference in points (95% interval) | held-out texts | seconds |",
    jobs: labels,
    cells({ base, tuned, metricComparisons }) {
      const show = (value: number): string => (100 * value).toFixed(1);
      const accuracy = ({ metrics }: Measured): string => `${show(metrics.eval_accuracy!)}%`;
      return { base: accuracy(base), tuned: accuracy(tuned), comparison: metricComparisons.eval_accuracy!, show };
    },
  },
];

const words = process.argv.slice(2);
for (const { header, jobs, cells } of tables) {
  const chosen = jobs.filter(({ model, data }) => words.length === 0 || words.some((word) => `${model} ${data}`.includes(word)));
  if (chosen.length > 0) console.log(`${header}\n|---|---|--:|--:|---|--:|--:|`);
  for (const job of chosen) {
    const started = performance.now();
    const { base, tuned, comparison, show } = cells(train(job));
    const difference = `${show(comparison.difference)} (${show(comparison.low)} to ${show(comparison.high)})`;
    const seconds = ((performance.now() - started) / 1000).toFixed(0);
    console.log(`| ${job.model} | ${job.data} | ${base} | ${tuned} | ${difference} | ${comparison.documents} | ${seconds} |`);
  }
}
rmSync(folder, { recursive: true });
