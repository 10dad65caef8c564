/**
 * npx tsx bench/estimate.ts [shape]: what `train --dry-run` predicts, memory and time of a step, beside what a run of its own process
 * then takes.
 */
import { execFileSync } from "node:child_process";
import { cpus, loadavg } from "node:os";
import { resolve } from "node:path";
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
  if (predicts) {
    const estimate = await estimateRun({ engine, loaded: { store }, batchesForEpoch: () => [batch] }, { gradientAccumulationSteps: 1 });
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
  return { seconds: warm.reduce((sum, s) => sum + s, 0) / warm.length, peakMb: (process.resourceUsage().maxRSS * 1024) / 1e6 };
}

function main(only: string | undefined): void {
  const run = (job: Job): Needs =>
    JSON.parse(
      execFileSync(process.execPath, ["--import", "tsx", resolve(import.meta.filename), JSON.stringify(job)], { encoding: "utf8" }),
    ) as Needs;
  console.log(
    `${cpus()[0]!.model}, ${cpus().length} cores, load ${loadavg()[0]!.toFixed(2)}, Node ${process.version}, ${new Date().toISOString().slice(0, 10)}\n`,
  );
  console.log(
    "| shape | method | batch | peak MB predicted | measured | off | s a step predicted | measured | off |\n|---|---|--:|--:|--:|--:|--:|--:|--:|",
  );
  for (const job of jobs) {
    if (only && job.shape !== (only as ShapeName)) continue;
    const [predicted, measured] = [run({ ...job, predicts: true }), run({ ...job, predicts: false })];
    const off = (a: number, b: number): string => `${((100 * (a - b)) / b).toFixed(0)}%`;
    console.log(
      `| ${job.shape} | ${job.method.name} | ${job.batch} x ${job.tokens} | ${predicted.peakMb.toFixed(0)} | ${measured.peakMb.toFixed(0)} | ${off(predicted.peakMb, measured.peakMb)} | ${predicted.seconds.toFixed(2)} | ${measured.seconds.toFixed(2)} | ${off(predicted.seconds, measured.seconds)} |`,
    );
  }
}

const [argument] = process.argv.slice(2);
if (argument?.startsWith("{")) console.log(JSON.stringify(await needs(JSON.parse(argument) as Job)));
else main(argument);
