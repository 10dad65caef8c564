/** Time of one update of ten million parameters by each optimizer, on matrices in the shapes of a 135M Llama. Run: npx tsx bench/optimizers.ts */
import { createOnnxBackend } from "../src/backends/onnx/backend.ts";
import { VectorMemory } from "../src/backends/wasm/vector-memory.ts";
import { createOptimizerOnGroups } from "../src/execution/optimizer/optimizer-on-groups.ts";
import type { ParameterGroup } from "../src/execution/weights/parameter-store.ts";
import type { Optimizer } from "../src/optimizers/optimizer.ts";
import { optimizers } from "../src/optimizers/registry.ts";
import { loadOnnxRuntime } from "../src/platform/node/onnxruntime.ts";

const rounds = 8;
const backend = createOnnxBackend({ runtime: (await loadOnnxRuntime()) as never, provider: "cpu" });
const block = [
  [576, 576],
  [1536, 576],
  [576, 1536],
  [192, 576],
];
const shapes = [...block, ...block, ...block, ...block, [2000, 576]];

function randomGroup(): ParameterGroup {
  const layout = new Map<string, { offset: number; length: number; spec: { name: string; shape: number[]; kind: "weight" } }>();
  let size = 0;
  for (const [i, shape] of shapes.entries()) {
    const length = shape[0]! * shape[1]!;
    layout.set(`matrix.${i}`, { offset: size, length, spec: { name: `matrix.${i}`, shape, kind: "weight" } });
    size += length;
  }
  const memory = new VectorMemory({ elements: 4 * size, vectors: 4 });
  const noise = (): Float32Array => {
    const vector = memory.vector(size);
    for (let i = 0; i < size; i++) vector[i] = 0.1 * (Math.random() - 0.5);
    return vector;
  };
  return { decays: true, learningRateFactor: 1, layout, memory, parameters: noise(), gradients: noise() };
}

const running = [];
for (const optimizer of optimizers as readonly Optimizer[]) {
  const group = randomGroup();
  const config = optimizer.configSchema.parse({ name: optimizer.name });
  running.push({
    name: optimizer.name,
    best: Number.POSITIVE_INFINITY,
    group,
    on: await createOptimizerOnGroups({ backend, optimizer, config, groups: [group] }),
  });
}
// Interleaved, so that whatever else the machine does falls on all of them.
for (let step = 1; step <= rounds; step++) {
  for (const entry of running) {
    const started = performance.now();
    await entry.on.update({ learningRate: 1e-4, step, gradientScale: 1 });
    entry.best = Math.min(entry.best, performance.now() - started);
  }
}
const { best: baseline } = running.find(({ name }) => name === "adamw")!;
console.log(`best of ${rounds}, ${(running[0]!.group.parameters.length / 1e6).toFixed(1)}M parameters`);
for (const { name, best, on } of running)
  console.log(
    `${name.padEnd(22)}${best.toFixed(0).padStart(6)} ms ${(best / baseline).toFixed(2).padStart(6)} x adamw ${(on.stateBytes / 1e6).toFixed(1).padStart(6)} MB of state`,
  );
