/**
 * npm run bench [-- --quick]: speed and memory at the shape of a 135M-parameter Llama, beside Python PEFT on PyTorch in the same run.
 * Measurements take turns and the best of several is shown, because machines are shared. The peer needs a Python with
 * bench/peers/requirements.txt, named by TUNESMITH_PEER_PYTHON; without it those rows are left out, and said so.
 */
import { execFileSync } from "node:child_process";
import { cpus, loadavg } from "node:os";
import { resolve } from "node:path";
import { shapes } from "./shapes.ts";

interface Measurement {
  readonly tokensPerSecond: number;
  readonly peakMemoryMb: number;
  readonly gflops?: number;
}

const quick = process.argv.includes("--quick");
const rounds = quick ? 1 : 3;
const peer = process.env.TUNESMITH_PEER_PYTHON;
const here = import.meta.dirname;

const ours = (job: object): Measurement =>
  JSON.parse(
    execFileSync(process.execPath, ["--import", "tsx", resolve(here, "measure.ts"), JSON.stringify(job)], { encoding: "utf8" }),
  ) as Measurement;
/** What --dry-run would say, asked of another process. */
const predicted = (job: object): string => {
  const { predictedMemoryMb } = ours({ ...job, predicts: true }) as Measurement & { readonly predictedMemoryMb: number };
  return `(predicted ${predictedMemoryMb.toFixed(0)})`;
};
const theirs = (args: string[]): Measurement =>
  JSON.parse(
    execFileSync(peer!, [resolve(here, "peers/lora_step.py"), ...args], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] })
      .trim()
      .split("\n")
      .at(-1)!,
  ) as Measurement;
const best = (all: readonly Measurement[]): Measurement => all.reduce((a, b) => (b.tokensPerSecond > a.tokensPerSecond ? b : a));
const lora = { name: "lora", rank: 16, loraAlpha: 32 };
const step = (more: object = {}) => ({
  kind: "step",
  method: lora,
  weights: "float32",
  tokens: 512,
  batch: 1,
  layers: 30,
  steps: quick ? 2 : 4,
  activationCheckpointing: "none",
  ...more,
});

/** Floating-point operations of a LoRA step for each token: 4 for every linear parameter, and attention (2 products forward, 4 backward). */
function stepFlops(tokens: number): number {
  const { config } = shapes["llama-135m"];
  const { hidden_size: hidden, num_hidden_layers: layers, num_attention_heads: heads } = config;
  const { num_key_value_heads: kvHeads, intermediate_size: intermediate, vocab_size: vocab } = config;
  const linear = layers * (2 * hidden * hidden + 2 * hidden * ((hidden / heads) * kvHeads) + 3 * hidden * intermediate) + vocab * hidden;
  return 4 * linear + layers * 6 * 2 * tokens * hidden;
}

console.log(
  `${cpus()[0]!.model}, ${cpus().length} cores, load ${loadavg()[0]!.toFixed(2)}, Node ${process.version}, ${new Date().toISOString().slice(0, 10)}`,
);
console.log(`135M Llama, LoRA rank 16 on all linear layers, 512 tokens, every token supervised; best of ${rounds}\n`);

const peerStep = ["--tokens", "512", "--steps", quick ? "2" : "4", "--threads", String(cpus().length)];
const integers = { format: "int8", compute: "int8", embeddings: "int8" };
const rates: number[] = [];
const measured: Record<"float32" | "bfloat16" | "int8" | "peer" | "peerHalf", Measurement[]> = {
  ...{ float32: [], bfloat16: [], int8: [], peer: [], peerHalf: [] },
};
for (let round = 0; round < rounds; round++) {
  rates.push(ours({ kind: "matmul" }).gflops!);
  measured.float32.push(ours(step()));
  if (peer) measured.peer.push(theirs(peerStep));
  measured.int8.push(ours(step({ quantization: integers })));
  if (peer) measured.peerHalf.push(theirs([...peerStep, "--dtype", "bfloat16"]));
  measured.bfloat16.push(ours(step({ weights: "bfloat16" })));
}
const rate = Math.max(...rates);
const row = (name: string, { tokensPerSecond, peakMemoryMb }: Measurement, note = ""): void =>
  console.log(`${name.padEnd(44)}${tokensPerSecond.toFixed(1).padStart(9)} tok/s${peakMemoryMb.toFixed(0).padStart(7)} MB  ${note}`);
const stepRow = (name: string, job: object): void => row(name, ours(job), predicted(job));

console.log(`MatMul in this run: ${rate.toFixed(0)} GFLOP/s`);
const [f32, half, int8] = [best(measured.float32), best(measured.bfloat16), best(measured.int8)];
const share = (m: Measurement): string => `${((100 * stepFlops(512) * m.tokensPerSecond) / (rate * 1e9)).toFixed(0)}% of the MatMul rate`;
row("LoRA step, float32 weights", f32, `${predicted(step())} ${share(f32)}`);
row("LoRA step, bfloat16 weights", half, `${predicted(step({ weights: "bfloat16" }))} ${share(half)}`);
row("LoRA step, int8 base computed in int8", int8, `${predicted(step({ quantization: integers }))} ${share(int8)}`);
if (peer) {
  const against = (m: Measurement, reference: Measurement): string =>
    `${(m.tokensPerSecond / reference.tokensPerSecond).toFixed(2)}x the speed, ${((100 * m.peakMemoryMb) / reference.peakMemoryMb).toFixed(0)}% of the memory`;
  for (const [name, reference] of [
    ["float32", best(measured.peer)],
    ["bfloat16", best(measured.peerHalf)],
  ] as const) {
    row(`Python PEFT + transformers, ${name}`, reference);
    for (const [weights, m] of Object.entries({ float32: f32, bfloat16: half, int8 }))
      console.log(`  ours with ${weights}: ${against(m, reference)}`);
  }
} else console.log("(no peer: set TUNESMITH_PEER_PYTHON to a Python with bench/peers/requirements.txt)");
stepRow("LoRA step, activation checkpointing", step({ activationCheckpointing: "block" }));
stepRow("full fine-tuning", step({ method: { name: "full" }, steps: 2 }));
row("generation with the cache", ours({ kind: "generate", method: lora, weights: "float32", tokens: 32 }));
row(
  "generation, int8 base computed in int8",
  ours({ kind: "generate", method: lora, weights: "float32", quantization: integers, tokens: 32 }),
);
if (peer) row("Python, generation", theirs(["--generate", "32", "--threads", String(cpus().length)]));

console.log("\nHow cost grows (LoRA, float32)");
for (const tokens of [128, 256, 1024]) stepRow(`  ${tokens} tokens`, step({ tokens, steps: 2 }));
for (const batch of [2, 4]) stepRow(`  batch ${batch} of 256 tokens`, step({ batch, tokens: 256, steps: 2 }));
for (const layers of [6, 12]) stepRow(`  ${layers} layers, 512 tokens`, step({ layers, steps: 2 }));
