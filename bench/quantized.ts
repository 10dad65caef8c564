/**
 * npx tsx bench/quantized.ts [llama-1100m|llama-135m]: memory and speed of LoRA on quantised bases beside the same run on the checkpoint's own weights.
 * The checkpoint is random and written to disk first, so that reading, quantising and keeping the codes are part of what is measured.
 * Every measurement has a process of its own, so that its peak memory is its own.
 */
import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { cpus, loadavg, tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createOnnxBackend } from "../src/backends/onnx/backend.ts";
import { float32ToBfloat16 } from "../src/base/half.ts";
import { createRandom } from "../src/base/random.ts";
import { createOptimizer } from "../src/execution/optimizer/create-optimizer.ts";
import { SegmentedTrainingEngine } from "../src/execution/training-engine.ts";
import { weightsOf } from "../src/execution/weights/checkpoint-weights.ts";
import { loadParameters } from "../src/execution/weights/parameter-store.ts";
import { openQuantisedBase, type QuantizationConfig } from "../src/execution/weights/quantised-base.ts";
import { lora } from "../src/methods/lora/lora.ts";
import { createModel } from "../src/models/families/registry.ts";
import { int8 } from "../src/models/quantisation/int8.ts";
import { nf4 } from "../src/models/quantisation/nf4.ts";
import { describeModel } from "../src/models/segments.ts";
import { openCheckpoint } from "../src/models/weights/checkpoint.ts";
import { bytesOf } from "../src/models/weights/element-types.ts";
import { encodeSafetensors, type TensorToWrite } from "../src/models/weights/safetensors.ts";
import { causalLm } from "../src/objectives/causal-lm.ts";
import { adamw } from "../src/optimizers/adamw.ts";
import { openFolder, writeFileAtomic } from "../src/platform/node/files.ts";
import { loadOnnxRuntime } from "../src/platform/node/onnxruntime.ts";
import { createQuantisedCache } from "../src/platform/node/quantised-cache.ts";
import { estimateRun } from "../src/runs/estimate.ts";
import { randomBatch } from "./random-model.ts";
import { type BenchShape, shapes } from "./shapes.ts";

const measuredShapes = {
  "llama-135m": shapes["llama-135m"],
  "llama-1100m": {
    summary: "Llama, 1.1 billion parameters (TinyLlama's shape)",
    kind: "causal-lm",
    config: {
      ...{ model_type: "llama", vocab_size: 32000, hidden_size: 2048, intermediate_size: 5632, num_hidden_layers: 22 },
      ...{ num_attention_heads: 32, num_key_value_heads: 4, max_position_embeddings: 2048, rms_norm_eps: 1e-5, tie_word_embeddings: false },
    },
  },
} as const satisfies Readonly<Record<string, BenchShape>>;
type ShapeName = keyof typeof measuredShapes;

type WeightType = "float32" | "bfloat16";
interface Job {
  readonly shape: ShapeName;
  readonly folder: string;
  readonly quantization?: QuantizationConfig;
  readonly activationCheckpointing: "none" | "block";
  readonly tokens: number;
  readonly steps: number;
  /** Say the peak memory only, as --dry-run does. */
  readonly predicts?: boolean;
}

interface Measured {
  readonly tokensPerSecond: number;
  readonly loadSeconds: number;
  readonly frozenMb: number;
  /** What was taken, or what --dry-run would say. */
  readonly peakMemoryMb: number;
}

/** Normal sizes, cheap values: what they are does not matter to time and memory. */
async function writeCheckpoint(folder: string, { shape, weights }: { shape: ShapeName; weights: WeightType }): Promise<void> {
  const { config } = measuredShapes[shape];
  let state = 1;
  const tensors = new Map<string, TensorToWrite>();
  for (const spec of describeModel(createModel(config)).parameters) {
    tensors.set(spec.name, {
      dtype: weights === "float32" ? "F32" : "BF16",
      shape: spec.shape,
      async read() {
        const values = new Float32Array(spec.shape.reduce((product, n) => product * n, 1));
        for (let i = 0; i < values.length; i++) {
          state = (Math.imul(state, 1664525) + 1013904223) | 0;
          values[i] = spec.kind === "norm" ? 1 : state * (0.05 / 2 ** 31);
        }
        return bytesOf(weights === "float32" ? values : float32ToBfloat16(values));
      },
    });
  }
  await writeFileAtomic(join(folder, "config.json"), JSON.stringify(config));
  await writeFileAtomic(join(folder, "model.safetensors"), encodeSafetensors(tensors));
}

async function measure({ shape, folder: path, quantization, activationCheckpointing, tokens, steps, predicts }: Job): Promise<Measured> {
  const started = performance.now();
  const backend = createOnnxBackend({ runtime: await loadOnnxRuntime(), provider: "cpu" });
  const folder = openFolder(path);
  const checkpoint = await openCheckpoint(folder);
  const model = createModel(checkpoint.config);
  const description = describeModel(model);
  const source = weightsOf(checkpoint);
  const method = lora.attach({ model, ...description }, lora.configSchema.parse({ name: "lora", rank: 16 }));
  const cache = createQuantisedCache({
    environment: { HF_HOME: join(path, "..", "cache") },
    onNotice: (message) => console.error(message),
  });
  const quantised =
    quantization && (await openQuantisedBase({ config: quantization, linears: description.linears, source, folder, cache }));
  const store = await loadParameters({
    ...{ specs: description.parameters, method, source, quantised, random: createRandom(1), storable: backend.storable },
  });
  const loadSeconds = (performance.now() - started) / 1000;
  const engine = new SegmentedTrainingEngine({
    ...{ backend, model, method, regularisers: [], store, activationCheckpointing },
    ...{ objective: causalLm, objectiveConfig: { name: "causal-lm", labelSmoothing: 0 } },
    optimizer: await createOptimizer({
      ...{ backend, optimizer: adamw, store },
      config: adamw.configSchema.parse({ name: "adamw" }),
    }),
  });
  const batch = randomBatch(measuredShapes[shape], { batchSize: 1, tokens });
  const peakMemoryBytes = (): number => process.resourceUsage().maxRSS * 1024;
  let best = Number.POSITIVE_INFINITY;
  const rest = { loadSeconds, frozenMb: store.frozenBytes / 1e6 };
  if (predicts) {
    const run = { engine, loaded: { store }, batchesForEpoch: () => [batch] };
    const { peakBytes, secondsPerStep } = await estimateRun(run, { gradientAccumulationSteps: 1, peakMemoryBytes });
    return { ...rest, tokensPerSecond: tokens / secondsPerStep, peakMemoryMb: peakBytes / 1e6 };
  }
  for (let step = 1; step <= steps + 1; step++) {
    const began = performance.now();
    await engine.accumulate(batch, { gradientScale: 1 / batch.targetLabels.length, seed: step });
    await engine.update({ learningRate: 1e-4, step, gradientScale: 1 });
    if (step > 1) best = Math.min(best, (performance.now() - began) / 1000);
  }
  return { ...rest, tokensPerSecond: tokens / best, peakMemoryMb: peakMemoryBytes() / 1e6 };
}

async function main(shape: ShapeName): Promise<void> {
  const root = mkdtempSync(join(tmpdir(), "tunesmith-quantized-bench-"));
  const common = { shape, tokens: 512, steps: 2 };
  const double = nf4.configSchema.parse({ format: "nf4" });
  const eight = int8.configSchema.parse({ format: "int8" });
  const rows: readonly [string, WeightType, Partial<Job>][] = [
    ["float32 weights", "float32", {}],
    ["nf4 of float32, quantised in this run", "float32", { quantization: double }],
    ["nf4 of float32, from the kept copy", "float32", { quantization: double }],
    ["int8 of float32, from the kept copy", "float32", { quantization: eight }],
    ["int8 computed in int8, embeddings and head too", "float32", { quantization: { ...eight, compute: "int8", embeddings: "int8" } }],
    ["nf4, embeddings and head in int8", "float32", { quantization: { ...double, embeddings: "int8" } }],
    ["float32 weights, checkpointing", "float32", { activationCheckpointing: "block" }],
    ["nf4 of float32, checkpointing", "float32", { quantization: double, activationCheckpointing: "block" }],
    ["bfloat16 weights", "bfloat16", {}],
    ["nf4 of bfloat16, from the kept copy", "bfloat16", { quantization: double }],
  ];
  console.log(`${measuredShapes[shape].summary}; LoRA rank 16 on all linear layers, 512 tokens, every one supervised, AdamW`);
  console.log(
    `${cpus()[0]!.model}, ${cpus().length} cores, load ${loadavg()[0]!.toFixed(2)}, Node ${process.version}, ${new Date().toISOString().slice(0, 10)}`,
  );
  try {
    for (const [name, weights, options] of rows) {
      const folder = join(root, weights);
      if (!existsSync(folder)) await writeCheckpoint(folder, { shape, weights });
      const job = { ...common, folder, activationCheckpointing: "none", ...options };
      const run = (predicts = false) =>
        JSON.parse(
          execFileSync(process.execPath, ["--import", "tsx", resolve(import.meta.filename), JSON.stringify({ ...job, predicts })], {
            encoding: "utf8",
            stdio: ["ignore", "pipe", "ignore"],
          }),
        ) as Measured;
      if (name.includes("kept copy")) run(); // makes the copy where it is not there
      const { tokensPerSecond, loadSeconds, frozenMb, peakMemoryMb } = run();
      const predictedMemoryMb = run(true).peakMemoryMb;
      console.log(
        `${name.padEnd(48)}${tokensPerSecond.toFixed(1).padStart(8)} tok/s  peak ${peakMemoryMb.toFixed(0).padStart(6)} MB (predicted ${predictedMemoryMb.toFixed(0)})  frozen ${frozenMb.toFixed(0).padStart(5)} MB  loaded in ${loadSeconds.toFixed(1)} s`,
      );
    }
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
}

const [argument = "llama-1100m"] = process.argv.slice(2);
if (argument.startsWith("{")) console.log(JSON.stringify(await measure(JSON.parse(argument) as Job)));
else await main(argument as ShapeName);
