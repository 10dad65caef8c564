/** One method on one shape in a process of its own, so that its peak memory is its own; prints one JSON line. Started by methods.ts. */
import { openRandomModel, type RandomModelOptions, randomBatch } from "./random-model.ts";
import { type ShapeName, shapes } from "./shapes.ts";

const {
  shape,
  method,
  tokens,
  batch: batchSize,
  steps,
} = JSON.parse(process.argv[2]!) as Pick<RandomModelOptions, "method"> & {
  readonly shape: ShapeName;
  readonly tokens: number;
  readonly batch: number;
  readonly steps: number;
};
const { engine, store } = await openRandomModel({ config: shapes[shape].config, method });
const batch = randomBatch(shapes[shape], { batchSize, tokens });
const seconds: number[] = [];
for (let step = 1; step <= steps + 1; step++) {
  const started = performance.now();
  await engine.accumulate(batch, { gradientScale: 1 / batch.targetLabels.length, seed: step });
  const gradientNorm = await engine.gradientNorm();
  await engine.update({ learningRate: 1e-4, step, gradientScale: Math.min(1, 1 / gradientNorm) });
  if (step > 1) seconds.push((performance.now() - started) / 1000);
}
console.log(
  JSON.stringify({
    tokensPerSecond: (batchSize * tokens) / Math.min(...seconds),
    trainableParameters: store.groups.reduce((sum, { parameters }) => sum + parameters.length, 0),
    peakMemoryMb: (process.resourceUsage().maxRSS * 1024) / 1e6,
  }),
);
