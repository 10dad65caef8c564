/** Training where a device has memory of its own: the CPU's numbers, while weights, gradients and the optimizer's state stay there. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import type { Backend } from "../../src/backends/backend.ts";
import { createOnnxBackend } from "../../src/backends/onnx/backend.ts";
import { tryDevice } from "../../src/backends/onnx/list-devices.ts";
import { devices } from "../../src/backends/registry.ts";
import type { TokenizedExample } from "../../src/data/batch.ts";
import { collate } from "../../src/data/batches.ts";
import { sameToken } from "../../src/data/collators.ts";
import { bitfit } from "../../src/methods/bitfit.ts";
import { full } from "../../src/methods/full.ts";
import { lora } from "../../src/methods/lora/lora.ts";
import type { AttachedMethod, MethodTarget } from "../../src/methods/method.ts";
import { optimizers } from "../../src/optimizers/registry.ts";
import { createFolderShelf } from "../../src/platform/node/folder-shelf.ts";
import { loadOnnxRuntime } from "../../src/platform/node/onnxruntime.ts";
import { createCheckpointStore } from "../../src/trainers/checkpoint.ts";
import { evaluateLoss, trainSupervised } from "../../src/trainers/supervised.ts";
import { createEvaluationWeights, createWeightAverage, type WeightAverageConfig } from "../../src/trainers/weight-average.ts";
import { createWeightPenalty } from "../../src/trainers/weight-penalty.ts";
import { batchOf, openTinyModel, reference } from "../conformance/tiny-model.ts";
import { counting } from "./counting-backend.ts";

const runtime = await loadOnnxRuntime();
const folder = mkdtempSync(join(tmpdir(), "tunesmith-on-device-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const row = (start: number): number[] => Array.from({ length: 8 }, (_, i) => start + i);
const batches = [batchOf([row(3), row(20)]), batchOf([row(40), row(11)]), batchOf([row(30), row(7)]), batchOf([row(50), row(1)])];
const [batch] = batches as [(typeof batches)[number]];
const targets = batch.targetLabels.length;
const example = (start: number): TokenizedExample => ({
  inputIds: Int32Array.from(row(start)),
  labels: Int32Array.from(row(start + 1)),
  encoderInputIds: Int32Array.from(row(60 - start)),
});
const pairs = [0, 1, 2, 3].map((i) => collate([[example(3 + i)], [example(20 - i)]], sameToken));
const once = { gradientScale: 1 / targets, seed: 1 };

const adapt = (target: MethodTarget): AttachedMethod => lora.attach(target, lora.configSchema.parse({ name: "lora", rank: 4 }));
const whole = (target: MethodTarget): AttachedMethod => full.attach(target);
const biases = (target: MethodTarget): AttachedMethod => bitfit.attach(target);

interface Setting {
  readonly attach: (target: MethodTarget) => AttachedMethod;
  readonly encoderDecoder?: string;
  readonly optimizer?: Readonly<Record<string, unknown>>;
}

const open = (on: Backend, { attach, encoderDecoder, optimizer }: Setting) =>
  openTinyModel({
    folder: `${reference}${encoderDecoder ? `encoder-decoders/${encoderDecoder}` : "families/llama"}`,
    attach,
    on,
    ...(optimizer && { optimizer }),
  });
type Opened = Awaited<ReturnType<typeof open>>;

/** Losses and gradient norms of some steps of two micro-batches, with clipping; then every trained weight. */
async function train({ engine, store, model }: Opened, { steps = 3, learningRate = 1e-2 } = {}) {
  const of = model.encoder ? pairs : batches;
  const numbers: number[] = [];
  for (let step = 1; step <= steps; step++) {
    for (const micro of [of[step % 4]!, of[(step + 1) % 4]!])
      numbers.push((await engine.accumulate(micro, { gradientScale: 0.5 / targets, seed: step })).lossSum / targets);
    const norm = await engine.gradientNorm();
    numbers.push(norm);
    await engine.update({ learningRate, step, gradientScale: Math.min(1, 1 / norm) });
  }
  const weights = (await store.trained.onHost()).flatMap(({ parameters }) => [...parameters]);
  return { numbers, weights };
}

/** What may cross to the device in a step: the batch, and single numbers. */
const ofBatch = new Set([
  ...["inputIds", "positionIds", "documentIds", "keyPositionIds", "keyDocumentIds", "positions", "labels", "weights"],
  ...["gradientScale", "before", "stepSize", "epsilon", "decay"],
  "upload", // rotary tables, buckets of distances
]);

/** Distance of two vectors in parts of the second's length. */
const relativeDistance = (a: readonly number[], b: readonly number[]): number =>
  Math.hypot(...a.map((x, i) => x - b[i]!)) / Math.hypot(...b);

for (const { name } of devices.filter((device) => device.keepsResults)) {
  const { available, reason } = await tryDevice(runtime, name);
  if (!available) console.log(`${name}: skipped: ${reason}`);
  const device = (): Backend => createOnnxBackend({ runtime, provider: name });
  const host = createOnnxBackend({ runtime, provider: "cpu" });

  describe.skipIf(!available)(`training on ${name}`, () => {
    const byHost = (optimizer: string): boolean => optimizer === "adamw-8bit";
    it.each([
      { title: "LoRA", attach: adapt },
      { title: "full", attach: whole },
      { title: "the biases of an encoder-decoder", attach: biases, encoderDecoder: "bart", optimizer: { name: "sgd", learningRate: 1e-2 } },
      { title: "all of an encoder-decoder", attach: whole, encoderDecoder: "t5" },
      ...optimizers.map(({ name }) => ({
        title: `full with ${name}`,
        attach: whole,
        optimizer: { name, learningRate: 1e-2, ...(byHost(name) && { min8bitSize: 500 }) },
      })),
    ] satisfies (Setting & { title: string })[])("$title: losses, norms and weights of the CPU", async ({ title, ...setting }) => {
      const there = await open(device(), setting);
      const [found, expected] = [await train(there), await train(await open(host, setting))];
      found.numbers.forEach((value, i) => {
        expect(Math.abs(value - expected.numbers[i]!) / expected.numbers[i]!, `number ${i}`).toBeLessThan(1e-4);
      });
      expect(relativeDistance(found.weights, expected.weights)).toBeLessThan(2e-4);
      expect(there.trainedOptimizer.isOnDevice).toBe(!byHost(String((setting as Setting).optimizer?.name)));
    });

    it.each([
      { title: "LoRA", attach: adapt },
      { title: "full", attach: whole },
      { title: "all of an encoder-decoder", attach: whole, encoderDecoder: "t5" },
    ] satisfies (Setting & { title: string })[])(
      "$title: after the first step only the batch goes there, and only its losses come back",
      async (setting) => {
        const { counts, on } = counting(device());
        const { engine, store, model } = await open(on, setting);
        const of = (model.encoder ? pairs : batches).slice(0, 2);
        const step = async (step: number): Promise<void> => {
          for (const micro of of) await engine.accumulate(micro, { ...once, seed: step });
          await engine.update({ learningRate: 1e-2, step, gradientScale: 1 / (await engine.gradientNorm()) });
        };
        await step(1);
        expect(counts.bytes("up")).toBeGreaterThan(0.9 * (store.frozenBytes + store.trainedBytes / 2));
        const { live } = counts;
        for (const at of [2, 3]) {
          counts.begin();
          await step(at);
          expect([...counts.up].filter(({ name }) => !ofBatch.has(name))).toEqual([]);
          expect(counts.largest("up")).toBeLessThanOrEqual(16 * 8 * batch.batchSize);
          expect(counts.largest("down")).toBeLessThanOrEqual(4 * of[0]!.targetLabels.length);
          expect(new Set(counts.down.map(({ name }) => name))).toEqual(new Set(["lossSum", "targetLosses", "correct", "download"]));
          expect(counts.down.filter(({ name }) => name === "download")).toEqual([{ name: "download", bytes: 4 }]); // the norm
          expect(counts.live).toBe(live);
        }
        await engine.evaluate(of[0]!);
        counts.begin();
        await engine.evaluate(of[0]!);
        expect([...counts.up].filter(({ name }) => !ofBatch.has(name))).toEqual([]);
        expect(counts.live).toBe(live);
      },
    );

    it("has one home for every weight: the host's cannot be read while they are on the device, and what the host changes counts", async () => {
      const opened = await open(device(), { attach: whole });
      const onCpu = await open(host, { attach: whole });
      const { engine, store } = opened;
      await engine.accumulate(batch, once);
      expect(() => store.groups[0]!.parameters).toThrow(/trained weights are on the device/);
      expect(() => store.groups[0]!.gradients).toThrow(/gradients are on the device/);
      expect(() => store.parameters.get("model.norm.weight")!.tensor).toThrow(/trained weights are on the device/);
      engine.discardGradients();
      for (const vectors of [await store.trained.onHost(), await onCpu.store.trained.onHost()])
        for (const { parameters } of vectors) for (let i = 0; i < parameters.length; i++) parameters[i]! *= 1.5;
      const changed = await engine.evaluate(batch);
      expect(changed.lossSum).toBeCloseTo((await onCpu.engine.evaluate(batch)).lossSum, 3);
      const before = (await store.trained.read()).map((vector) => vector.slice());
      expect(store.weights.isOnHost).toBe(false);
      expect((await store.trained.onHost()).map(({ parameters }) => parameters)).toEqual(before);
    });

    it("adds penalties that the host reckons", async () => {
      const norms: number[] = [];
      for (const on of [host, device()]) {
        const { engine, store } = await open(on, { attach: adapt });
        const penalty = await createWeightPenalty({ trained: store.trained, strength: 50 });
        for (let step = 1; step <= 3; step++) {
          await engine.accumulate(batch, once);
          norms.push(await penalty.addGradients(), await engine.gradientNorm());
          await engine.update({ learningRate: 1e-2, step, gradientScale: 1 });
        }
      }
      norms.slice(6).forEach((value, i) => {
        expect(value).toBeCloseTo(norms[i]!, 3);
      });
    });

    interface Run {
      readonly optimizer: Readonly<Record<string, unknown>>;
      readonly average?: WeightAverageConfig;
      readonly stopAt?: number;
    }

    /** A run of eight steps under the trainer, or what is left of it. */
    async function run(on: Backend, title: string, { optimizer, average: config, stopAt }: Run) {
      const { engine, store, trainedOptimizer } = await open(on, { attach: adapt, optimizer });
      const { trained } = store;
      const average = config && createWeightAverage({ trained, config, totalSteps: 8 });
      const writeTo = average ? average.writeTo : trainedOptimizer.writeEvaluationWeights;
      const checkpoints = createCheckpointStore({ shelf: createFolderShelf(join(folder, title)), keepLast: 1 });
      const stop = new AbortController();
      const [losses, evaluations]: [number[], number[]] = [[], []];
      await trainSupervised({
        ...{
          engine,
          batchesForEpoch: () => batches,
          validation: [batches[3]!],
          totalSteps: 8,
          gradientAccumulationSteps: 2,
          maxGradNorm: 0.5,
        },
        ...{ learningRateAt: () => 2e-2, seed: 3, evalEvery: 3, saveEvery: 2, checkpoints, average, signal: stop.signal },
        ...{ start: await checkpoints.latest(), evaluationWeights: writeTo && createEvaluationWeights({ trained, writeTo }) },
        events: {
          onStep({ step, loss }) {
            losses.push(loss);
            if (step === stopAt) stop.abort();
          },
          onEvaluation: ({ loss }) => evaluations.push(loss),
        },
      });
      return { losses, evaluations, left: (await evaluateLoss(engine, [batches[3]!])).loss };
    }

    it.each([
      { title: "adamw", optimizer: { name: "adamw" } },
      { title: "schedule-free-adamw", optimizer: { name: "schedule-free-adamw" } },
      { title: "adamw-8bit", optimizer: { name: "adamw-8bit", min8bitSize: 100 } },
      { title: "an exponential average", optimizer: { name: "adamw" }, average: { name: "ema" as const, decay: 0.8 } },
    ])("$title: goes on from a checkpoint, on the same curve and the CPU's", async ({ title, ...setting }) => {
      const onCpu = await run(host, `${title} on the CPU`, setting);
      const inOne = await run(device(), `${title} whole`, setting);
      const part = await run(device(), `${title} in parts`, { ...setting, stopAt: 5 });
      const rest = await run(device(), `${title} in parts`, setting);
      expect([...part.losses, ...rest.losses]).toEqual(inOne.losses);
      expect([...part.evaluations, ...rest.evaluations]).toEqual(inOne.evaluations);
      expect(rest.left).toBe(inOne.left);
      for (const key of ["losses", "evaluations"] as const)
        inOne[key].forEach((value, i) => {
          expect(value).toBeCloseTo(onCpu[key][i]!, 3);
        });
      expect(inOne.left).toBeCloseTo(onCpu.left, 3);
    });
  });
}
