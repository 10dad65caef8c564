/**
 * npx tsx bench/generation.ts [-- --quick]: generating with a Llama of 135M parameters, beside transformers' generate() on
 * PyTorch: the same prompts, greedy or beams, whole calls of what users call. Rates are of decoding: the time of a call for one
 * token, which reads the prompt, is taken off. Measurements take turns, the best of the rounds is shown. The peer needs a Python
 * with bench/peers/requirements.txt, named by TUNESMITH_PEER_PYTHON.
 */
import { execFileSync } from "node:child_process";
import { cpus, loadavg } from "node:os";
import { resolve } from "node:path";

export interface GenerationJob {
  readonly batch: number;
  /** 1: greedy. */
  readonly numBeams: number;
  readonly promptTokens: number;
  readonly newTokens: number;
  readonly repeats: number;
  readonly threads: number;
  /** Of the checkpoint. */
  readonly elements: "float32" | "bfloat16";
  readonly weights: "shared" | "packed";
}

interface Measurement {
  readonly prefillSeconds: number;
  readonly tokensPerSecond: number;
  readonly peakMemoryMb: number;
}

if (process.argv[1] === import.meta.filename) main();

function main(): void {
  const quick = process.argv.includes("--quick");
  const rounds = quick ? 1 : 3;
  const peer = process.env.TUNESMITH_PEER_PYTHON;
  const usual = { batch: 1, numBeams: 1, promptTokens: 32, newTokens: quick ? 16 : 32, repeats: 2, threads: cpus().length };
  const jobs = [
    { name: "one prompt", ...usual },
    { name: "prompt of 512 tokens", ...usual, promptTokens: 512 },
    { name: "8 prompts at once", ...usual, batch: 8 },
    { name: "4 beams", ...usual, numBeams: 4 },
  ];
  const variants = [
    { elements: "float32", weights: "packed" },
    { elements: "float32", weights: "shared" },
    { elements: "bfloat16", weights: "packed" },
    { elements: "bfloat16", weights: "shared" },
  ] as const;
  const cores = `${cpus()[0]!.model}, ${cpus().length} cores, load ${loadavg()[0]!.toFixed(2)}`;
  console.log(`${cores}, Node ${process.version}, ${new Date().toISOString().slice(0, 10)}; best of ${rounds}\n`);
  if (!peer) console.log("(no peer: set TUNESMITH_PEER_PYTHON to a Python with bench/peers/requirements.txt)\n");
  for (const { name, ...job } of jobs) {
    const runs = new Map<string, Measurement[]>();
    const add = (label: string, measured: Measurement) => runs.set(label, [...(runs.get(label) ?? []), measured]);
    for (let round = 0; round < rounds; round++) {
      for (const variant of variants) add(`ours, ${variant.elements}, ${variant.weights} weights`, ours({ ...job, ...variant }));
      if (peer) add("transformers, float32", theirs(peer, job));
    }
    console.log(name);
    for (const [label, measured] of runs) {
      const rate = Math.max(...measured.map(({ tokensPerSecond }) => tokensPerSecond));
      const prefill = Math.min(...measured.map(({ prefillSeconds }) => prefillSeconds));
      const memory = Math.min(...measured.map(({ peakMemoryMb }) => peakMemoryMb));
      const first = `first token ${(1000 * prefill).toFixed(0)} ms`;
      console.log(`  ${label.padEnd(34)}${rate.toFixed(1).padStart(8)} tok/s   ${first.padEnd(22)}${memory.toFixed(0).padStart(6)} MB`);
    }
  }
}

function ours(job: GenerationJob): Measurement {
  const script = resolve(import.meta.dirname, "measure-generation.ts");
  return lastLine(execFileSync(process.execPath, ["--import", "tsx", script, JSON.stringify(job)], { encoding: "utf8" }));
}

function theirs(python: string, job: object): Measurement {
  const script = resolve(import.meta.dirname, "peers/generation.py");
  return lastLine(execFileSync(python, [script, JSON.stringify(job)], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }));
}

function lastLine(output: string): Measurement {
  return JSON.parse(output.trim().split("\n").at(-1)!) as Measurement;
}
