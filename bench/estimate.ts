/**
 * npx tsx bench/estimate.ts [word]: what `train --dry-run` predicts, memory and time of a step, beside what is then taken in a process of
 * its own: by bare steps on random weights of well-known shapes, and by whole runs of the command, which need a build, on real data whose
 * batches change in length. With a word only the rows that have it in the name of their shape, model or data.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { cpus, loadavg, tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { estimateRun } from "../src/runs/estimate.ts";
import { openRandomModel, type RandomModelOptions, randomBatch } from "./random-model.ts";
import { type ShapeName, shapes } from "./shapes.ts";

interface Job extends Pick<RandomModelOptions, "method"> {
  readonly shape: ShapeName;
  readonly predicts: boolean;
  readonly tokens: number;
  readonly batch: number;
}
interface Needs {
  readonly seconds: number;
  readonly peakMb: number;
}

const lora = { name: "lora", rank: 16 };
const jobs: readonly Omit<Job, "predicts">[] = [
  { shape: "gpt2-124m", method: lora, tokens: 256, batch: 1 },
  { shape: "gpt2-124m", method: lora, tokens: 256, batch: 4 },
  { shape: "gpt2-124m", method: { name: "full" }, tokens: 256, batch: 1 },
  { shape: "bert-base", method: lora, tokens: 128, batch: 8 },
  { shape: "bert-base", method: { name: "full" }, tokens: 256, batch: 2 },
  { shape: "t5-small", method: lora, tokens: 256, batch: 2 },
  { shape: "t5-small", method: { name: "full" }, tokens: 128, batch: 2 },
  { shape: "qwen3-moe-300m", method: lora, tokens: 512, batch: 1 },
];

async function needs({ shape, method, predicts, tokens, batch: batchSize }: Job): Promise<Needs> {
  const { engine, store } = await openRandomModel({ config: shapes[shape].config, method });
  const batch = randomBatch(shapes[shape], { batchSize, tokens });
  const peakMemoryBytes = (): number => process.resourceUsage().maxRSS * 1024;
  if (predicts) {
    const run = { engine, loaded: { store }, batchesForEpoch: () => [batch] };
    const estimate = await estimateRun(run, { gradientAccumulationSteps: 1, peakMemoryBytes });
    return { seconds: estimate.secondsPerStep, peakMb: estimate.peakBytes / 1e6 };
  }
  const seconds: number[] = [];
  for (let step = 1; step <= 6; step++) {
    const started = performance.now();
    await engine.accumulate(batch, { gradientScale: 1 / batch.targetLabels.length, seed: step });
    const gradientNorm = await engine.gradientNorm();
    await engine.update({ learningRate: 1e-4, step, gradientScale: Math.min(1, 1 / gradientNorm) });
    seconds.push((performance.now() - started) / 1000);
  }
  const [, ...warm] = seconds;
  return { seconds: warm.reduce((sum, s) => sum + s, 0) / warm.length, peakMb: peakMemoryBytes() / 1e6 };
}

/** A run of the command. */
interface RealRun {
  readonly model: string;
  readonly data: string;
  readonly method: string;
  readonly packing: boolean;
}

const root = resolve(import.meta.dirname, "..");
const shared = process.env.TUNESMITH_SHARED_DATA ?? resolve(root, "../shared/data");
const soda = { model: "chat-gpt2", data: "dialogue/soda_chat.jsonl" };
const realRuns: readonly RealRun[] = [
  { ...soda, method: "lora", packing: true },
  { ...soda, method: "lora", packing: false },
  { ...soda, method: "full", packing: false },
  { model: "stories260k-llama", data: "text/tinystories_instruct.jsonl", method: "lora", packing: false },
];

/** The process says its peak as it ends, behind everything else on standard error. */
const sayPeak = `data:text/javascript,process.on("exit",()=>process.stderr.write(\`\\npeak \${process.resourceUsage().maxRSS}\`))`;

/** Peak MB: predicted, and taken by the run. */
function realPeaks({ model, data, method, packing }: RealRun): { predicted: number; measured: number } {
  const folder = mkdtempSync(join(tmpdir(), "tunesmith-estimate-"));
  const config = join(folder, "run.yaml");
  const lines = [
    `model: ${shared}/models/${model}`,
    `data: { train: ${shared}/${data}, validationShare: 0.1, testShare: 0.15, maxLength: 256, packing: ${packing} }`,
    `method: { name: ${method} }`,
    "training: { epochs: 2, batchSize: 4 }",
    `output: ${join(folder, "run")}`,
  ];
  writeFileSync(config, `${lines.join("\n")}\n`);
  const train = (...more: string[]): { stdout: string; peakMb: number } => {
    const command = ["--import", sayPeak, join(root, "dist/cli/main.js"), "train", config, "--json", ...more];
    const { status, stdout, stderr } = spawnSync(process.execPath, command, { encoding: "utf8", maxBuffer: 2 ** 28 });
    if (status !== 0) throw new Error(`the run on ${data} failed: ${stderr}`);
    return { stdout, peakMb: (Number(/peak (\d+)$/.exec(stderr)![1]) * 1024) / 1e6 };
  };
  try {
    const { peakBytes } = JSON.parse(train("--dry-run").stdout) as { peakBytes: number };
    return { predicted: peakBytes / 1e6, measured: train().peakMb };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

const off = (a: number, b: number): string => `${((100 * (a - b)) / b).toFixed(0)}%`;

function compareSteps(only: string): void {
  const chosen = jobs.filter(({ shape }) => shape.includes(only));
  if (chosen.length === 0) return;
  const run = (job: Job): Needs =>
    JSON.parse(
      execFileSync(process.execPath, ["--import", "tsx", resolve(import.meta.filename), JSON.stringify(job)], { encoding: "utf8" }),
    ) as Needs;
  console.log(
    "\n| shape | method | batch | peak MB predicted | measured | off | s a step predicted | measured | off |\n|---|---|--:|--:|--:|--:|--:|--:|--:|",
  );
  for (const job of chosen) {
    const [predicted, measured] = [run({ ...job, predicts: true }), run({ ...job, predicts: false })];
    console.log(
      `| ${job.shape} | ${job.method.name} | ${job.batch} x ${job.tokens} | ${predicted.peakMb.toFixed(0)} | ${measured.peakMb.toFixed(0)} | ${off(predicted.peakMb, measured.peakMb)} | ${predicted.seconds.toFixed(2)} | ${measured.seconds.toFixed(2)} | ${off(predicted.seconds, measured.seconds)} |`,
    );
  }
}

function compareRuns(only: string): void {
  const chosen = realRuns.filter(({ model, data }) => `${model} ${data}`.includes(only));
  if (chosen.length === 0) return;
  if (!existsSync(shared)) {
    console.log(
      `\nskipped ${chosen.length} runs of the command: there is no shared data at ${shared} (TUNESMITH_SHARED_DATA names another place)`,
    );
    return;
  }
  console.log("\n| model | data | method | batches | peak MB predicted | measured | off |\n|---|---|---|---|--:|--:|--:|");
  for (const run of chosen) {
    const { predicted, measured } = realPeaks(run);
    console.log(
      `| ${run.model} | ${run.data} | ${run.method} | ${run.packing ? "packed" : "of changing length"} | ${predicted.toFixed(0)} | ${measured.toFixed(0)} | ${off(predicted, measured)} |`,
    );
  }
}

const [argument = ""] = process.argv.slice(2);
if (argument.startsWith("{")) console.log(JSON.stringify(await needs(JSON.parse(argument) as Job)));
else {
  console.log(
    `${cpus()[0]!.model}, ${cpus().length} cores, load ${loadavg()[0]!.toFixed(2)}, Node ${process.version}, ${new Date().toISOString().slice(0, 10)}`,
  );
  compareSteps(argument);
  compareRuns(argument);
}
