/**
 * npx tsx bench/real-data.ts: checkpoints that others trained, tuned on real text: held-out loss against base with its interval.
 * Needs the shared data (TUNESMITH_SHARED_DATA) and a build.
 */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

const root = resolve(import.meta.dirname, "..");
const shared = process.env.TUNESMITH_SHARED_DATA ?? resolve(root, "../shared/data");

const jobs = [
  { model: "stories260k-llama", data: "text/tinystories_instruct.jsonl", rate: 1e-3, training: "{ epochs: 4, batchSize: 2 }" },
  { model: "stories260k-llama", data: "text/tinyshakespeare_first90.txt", rate: 3e-3, training: "{ maxSteps: 120, batchSize: 4 }" },
  { model: "chat-gpt2", data: "dialogue/soda_chat.jsonl", rate: 1e-3, training: "{ epochs: 2, batchSize: 4 }" },
  { model: "chat-gpt2", data: "instruct/rasbt_instruction.json", rate: 1e-3, training: "{ epochs: 4, batchSize: 4 }" },
];

interface Result {
  readonly base: { readonly loss: number; readonly tokens: number };
  readonly tuned: { readonly loss: number };
  readonly comparison: { readonly difference: number; readonly low: number; readonly high: number; readonly documents: number };
}

interface ClassResult {
  readonly base: { readonly metrics: { readonly eval_accuracy: number } };
  readonly tuned: { readonly metrics: { readonly eval_accuracy: number } };
  readonly metricComparisons: { readonly eval_accuracy: Result["comparison"] };
}

const folder = mkdtempSync(join(tmpdir(), "tunesmith-real-"));
console.log("| model | data | base | tuned | difference (95% interval) | held-out documents | seconds |\n|---|---|--:|--:|---|--:|--:|");
for (const [i, { model, data, rate, training }] of jobs.entries()) {
  const config = join(folder, `${i}.yaml`);
  writeFileSync(
    config,
    `model: ${shared}/models/${model}\ndata: { train: ${shared}/${data}, validationShare: 0.1, testShare: 0.15, maxLength: 256 }\nmethod: { name: lora, rank: 16 }\noptimizer: { name: adamw, learningRate: ${rate} }\ntraining: ${training}\noutput: ${join(folder, String(i))}\n`,
  );
  const started = performance.now();
  const output = execFileSync(process.execPath, [join(root, "dist/cli/main.js"), "train", config, "--json"], {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "ignore"],
    maxBuffer: 2 ** 28,
  });
  const { base, tuned, comparison } = JSON.parse(output) as Result;
  const { difference, low, high, documents } = comparison;
  console.log(
    `| ${model} | ${data} | ${base.loss.toFixed(3)} | ${tuned.loss.toFixed(3)} | ${difference.toFixed(3)} (${low.toFixed(3)} to ${high.toFixed(3)}) | ${documents} | ${((performance.now() - started) / 1000).toFixed(0)} |`,
  );
}

console.log(
  "\n| model | data | accuracy of base | tuned | difference in points (95% interval) | held-out texts | seconds |\n|---|---|--:|--:|---|--:|--:|",
);
const classes = join(folder, "classes.yaml");
writeFileSync(
  classes,
  `model: ${shared}/models/chat-gpt2\ndata: { train: ${shared}/classification/sst2_train.tsv.gz, validation: ${shared}/classification/sst2_dev.tsv, maxLength: 64 }\ntask: { name: sequence-classification }\nmethod: { name: lora, rank: 16, targetModules: all-linear }\noptimizer: { name: adamw, learningRate: 1.0e-3 }\ntraining: { epochs: 3, batchSize: 8 }\noutput: ${join(folder, "classes")}\n`,
);
const begun = performance.now();
const { base, tuned, metricComparisons } = JSON.parse(
  execFileSync(process.execPath, [join(root, "dist/cli/main.js"), "train", classes, "--json"], {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "ignore"],
    maxBuffer: 2 ** 28,
  }),
) as ClassResult;
const { difference, low, high, documents } = metricComparisons.eval_accuracy;
const [before, after, ...points] = [base.metrics.eval_accuracy, tuned.metrics.eval_accuracy, difference, low, high].map((share) =>
  (100 * share).toFixed(1),
);
console.log(
  `| chat-gpt2 | classification/sst2 | ${before}% | ${after}% | ${points[0]} (${points[1]} to ${points[2]}) | ${documents} | ${((performance.now() - begun) / 1000).toFixed(0)} |`,
);
rmSync(folder, { recursive: true });
