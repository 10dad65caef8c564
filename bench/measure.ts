/** One measurement in a process of its own, so that its peak memory is its own; prints one JSON line. Started by main.ts. */
import { createOnnxBackend } from "../src/backends/onnx/backend.ts";
import { untouched } from "../src/execution/loaded-model.ts";
import { createDecoder } from "../src/generation/decoder.ts";
import { loadOnnxRuntime } from "../src/platform/node/onnxruntime.ts";
import { estimateRun } from "../src/runs/estimate.ts";
import { Graph } from "../src/tensor/graph.ts";
import { matmul } from "../src/tensor/ops/index.ts";
import { openRandomModel, type RandomModelOptions, randomBatch } from "./random-model.ts";
import { shapes } from "./shapes.ts";

type ModelOptions = Omit<RandomModelOptions, "config">;

interface StepJob extends ModelOptions {
  readonly kind: "step";
  /** Say the peak memory only, as --dry-run does. */
  readonly predicts?: boolean;
  readonly tokens: number;
  readonly batch: number;
  readonly layers: number;
  readonly steps: number;
}

const job = JSON.parse(process.argv[2]!) as { kind: "matmul" } | StepJob | (ModelOptions & { kind: "generate"; tokens: number });
const shape = shapes["llama-135m"];

const print = (result: object): void =>
  console.log(JSON.stringify({ ...result, peakMemoryMb: (process.resourceUsage().maxRSS * 1024) / 1e6 }));

if (job.kind === "matmul") {
  // The MLP's shape, as in the step: [512, 576] x [576, 1536].
  const backend = createOnnxBackend({ runtime: await loadOnnxRuntime(), provider: "cpu" });
  const graph = new Graph();
  const [M, K, N] = [512, 576, 1536];
  graph.output("y", matmul(graph.input("a", { dtype: "float32", shape: [M, K] }), graph.input("b", { dtype: "float32", shape: [K, N] })));
  const executable = await backend.compile(graph);
  const tensor = (dims: number[]) => ({ dtype: "float32" as const, dims, data: new Float32Array(dims[0]! * dims[1]!).fill(0.5) });
  const [inputs, outputs] = [{ a: tensor([M, K]), b: tensor([K, N]) }, { y: tensor([M, N]) }];
  let best = Number.POSITIVE_INFINITY;
  for (let i = 0; i < 20; i++) {
    const started = performance.now();
    for (let n = 0; n < 10; n++) await executable.run(inputs, outputs);
    best = Math.min(best, (performance.now() - started) / 10_000);
  }
  print({ gflops: (2 * M * K * N) / best / 1e9 });
} else if (job.kind === "step" && job.predicts) {
  const { engine, loaded, batch } = await openStep(job);
  const peakMemoryBytes = (): number => process.resourceUsage().maxRSS * 1024;
  const { peakBytes } = await estimateRun(
    { engine, loaded, batchesForEpoch: () => [batch] },
    { gradientAccumulationSteps: 1, peakMemoryBytes },
  );
  print({ predictedMemoryMb: peakBytes / 1e6 });
} else if (job.kind === "step") {
  const { tokens, batch: batchSize, steps } = job;
  const { engine, loaded, batch } = await openStep(job);
  const seconds: number[] = [];
  for (let step = 1; step <= steps + 1; step++) {
    const started = performance.now();
    await engine.accumulate(batch, { gradientScale: 1 / batch.targetLabels.length, seed: step });
    const gradientNorm = await engine.gradientNorm();
    await engine.update({ learningRate: 1e-4, step, gradientScale: Math.min(1, 1 / gradientNorm) });
    if (step > 1) seconds.push((performance.now() - started) / 1000);
  }
  const trainableParameters = loaded.store.groups.reduce((sum, { parameters }) => sum + parameters.length, 0);
  print({
    bestSeconds: Math.min(...seconds),
    tokensPerSecond: (batchSize * tokens) / Math.min(...seconds),
    trainableParameters,
  });
} else {
  const { tokens, ...options } = job;
  const { backend, model, store } = await openRandomModel({ config: shape.config, ...options });
  const decoder = await createDecoder({ backend, model, method: untouched, store, weights: "packed" });
  await decoder.prepare([{}]);
  await decoder.step([Array.from({ length: 32 }, (_, i) => i)]);
  await decoder.step([[1]]);
  const started = performance.now();
  for (let i = 0; i < tokens; i++) await decoder.step([[i]]);
  print({ tokensPerSecond: tokens / ((performance.now() - started) / 1000) });
}

async function openStep({ tokens, batch: batchSize, layers, ...options }: StepJob) {
  const { engine, store } = await openRandomModel({ config: { ...shape.config, num_hidden_layers: layers }, ...options });
  return { engine, loaded: { store }, batch: randomBatch(shape, { batchSize, tokens }) };
}
