/**
 * Training in float16: in the interpreter, which rounds to float16 after every operation that is in it. ONNX Runtime's CPU kernels widen
 * to float32 and drop the casts between, so that there only the graphs are tried.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { createOnnxBackend } from "../../src/backends/onnx/backend.ts";
import { tryDevice } from "../../src/backends/onnx/list-devices.ts";
import { referenceBackend } from "../../src/backends/reference.ts";
import { whyNoFloat16 } from "../../src/backends/trials.ts";
import { float16ToFloat32 } from "../../src/base/half.ts";
import { createRandom } from "../../src/base/random.ts";
import type { Batch } from "../../src/data/batch.ts";
import { weightsOf } from "../../src/execution/weights/checkpoint-weights.ts";
import { loadParameters } from "../../src/execution/weights/parameter-store.ts";
import { full } from "../../src/methods/full.ts";
import { lora } from "../../src/methods/lora/lora.ts";
import type { AttachedMethod, MethodTarget } from "../../src/methods/method.ts";
import { createModel } from "../../src/models/families/registry.ts";
import { describeModel } from "../../src/models/segments.ts";
import { openCheckpoint } from "../../src/models/weights/checkpoint.ts";
import { openFolder } from "../../src/platform/node/files.ts";
import { createFolderShelf } from "../../src/platform/node/folder-shelf.ts";
import { loadOnnxRuntime } from "../../src/platform/node/onnxruntime.ts";
import { checkPrecision } from "../../src/runs/precision.ts";
import { createCheckpointStore } from "../../src/trainers/checkpoint.ts";
import { initialLossScale } from "../../src/trainers/loss-scale.ts";
import { type StepEvent, type SupervisedOptions, trainSupervised } from "../../src/trainers/supervised.ts";
import { backend, batchOf, openTinyModel, reference } from "../conformance/tiny-model.ts";

const folder = mkdtempSync(join(tmpdir(), "tunesmith-half-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const row = (start: number): number[] => Array.from({ length: 8 }, (_, i) => start + i);
const batch = batchOf([row(3), row(20)]);
const scaled = { gradientScale: 65_536 / batch.targetLabels.length, seed: 1 };
const whole = (target: MethodTarget): AttachedMethod => full.attach(target);
const adapt = (target: MethodTarget): AttachedMethod => lora.attach(target, lora.configSchema.parse({ name: "lora", rank: 4 }));
type Precision = "float32" | "float16";

describe.each(["llama", "gpt2", "gemma2", "gpt_neox", "qwen3_moe"])("%s in float16", (family) => {
  const open = (on: typeof backend, precision: Precision, activationCheckpointing: "none" | "block" = "none") =>
    openTinyModel({ folder: `${reference}families/${family}`, attach: whole, on, precision, activationCheckpointing });

  it.each(["none", "block"] as const)(
    "has the loss and the gradients of float32 within its rounding (checkpointing: %s)",
    async (keeping) => {
      const found = [];
      for (const precision of ["float32", "float16"] as const) {
        const { engine, store } = await open(referenceBackend, precision, keeping);
        const { lossSum } = await engine.accumulate(batch, scaled);
        found.push({ lossSum, gradients: store.groups.flatMap(({ gradients }) => [...gradients]) });
      }
      const [exact, half] = found as [(typeof found)[number], (typeof found)[number]];
      expect(half.lossSum).not.toBe(exact.lossSum);
      expect(Math.abs(half.lossSum / exact.lossSum - 1)).toBeLessThan(1e-3);
      const distance = Math.hypot(...half.gradients.map((x, i) => x - exact.gradients[i]!)) / Math.hypot(...exact.gradients);
      expect(distance).toBeGreaterThan(1e-4);
      expect(distance).toBeLessThan(1e-2);
    },
  );

  it("is a graph that ONNX Runtime takes, forward and backward", async () => {
    const { engine } = await open(backend, "float16");
    const { lossSum } = await engine.accumulate(batch, scaled);
    const evaluated = await engine.evaluate(batch);
    const plain = await (await open(backend, "float32")).engine.evaluate(batch);
    for (const value of [lossSum, evaluated.lossSum]) expect(Math.abs(value / plain.lossSum - 1)).toBeLessThan(1e-3);
  });
});

describe("a run in float16", () => {
  /** Rows in which every token is followed by the next number. */
  function batchesForEpoch(epoch: number): Batch[] {
    const random = createRandom(epoch + 1);
    return Array.from({ length: 4 }, () => batchOf([row(random.integer(50)), row(random.integer(50))]));
  }

  async function run(title: string, { precision, ...options }: Partial<SupervisedOptions> & { precision: Precision }) {
    const { engine } = await openTinyModel({ folder: `${reference}families/llama`, attach: adapt, on: referenceBackend, precision });
    const steps: StepEvent[] = [];
    const checkpoints = createCheckpointStore({ shelf: createFolderShelf(join(folder, title)), keepLast: 2 });
    await trainSupervised({
      ...{ engine, batchesForEpoch, validation: [], totalSteps: 12, gradientAccumulationSteps: 1, maxGradNorm: 1, checkpoints },
      ...{ learningRateAt: () => 2e-2, seed: 3, evalEvery: 100, saveEvery: 100 },
      ...options,
      events: {
        onStep(event) {
          steps.push(event);
          options.events?.onStep?.(event);
        },
      },
    });
    return { steps, losses: steps.map(({ loss }) => loss), checkpoints };
  }

  it("learns what float32 learns: every loss within 2%", async () => {
    const exact = await run("float32", { precision: "float32" });
    const half = await run("float16", { precision: "float16", lossScale: initialLossScale });
    expect(half.losses.at(-1)!).toBeLessThan(half.losses[0]! - 0.3);
    half.losses.forEach((loss, i) => {
      expect(Math.abs(loss / exact.losses[i]! - 1)).toBeLessThan(0.02);
    });
    expect(half.steps.map(({ lossScale, skippedSteps }) => [lossScale, skippedSteps])).toEqual(exact.steps.map(() => [65_536, 0]));
    expect(exact.steps[0]).not.toHaveProperty("lossScale");
  });

  const tooHigh = { ...initialLossScale, scale: 2 ** 30 };

  it("leaves out steps whose gradients overflow, lowers the scale, and then takes the steps of a run that never overflowed", async () => {
    const same = () => [batch];
    const { steps } = await run("overflow", { precision: "float16", lossScale: tooHigh, batchesForEpoch: same, totalSteps: 30 });
    const skipped = steps.at(-1)!.skippedSteps!;
    expect(skipped).toBeGreaterThan(0);
    expect(skipped).toBeLessThan(25);
    for (const [i, step] of steps.slice(0, skipped).entries()) {
      expect(step).toMatchObject({ loss: steps[0]!.loss, lossScale: 2 ** (30 - i), skippedSteps: i + 1 });
      expect(Number.isFinite(step.gradientNorm)).toBe(false);
    }
    const lossScale = { ...initialLossScale, scale: 2 ** (30 - skipped) };
    const smooth = await run("no overflow", { precision: "float16", lossScale, batchesForEpoch: same, totalSteps: 30 - skipped });
    expect(steps.slice(skipped).map(({ loss }) => loss)).toEqual(smooth.losses);
  });

  it("goes on from a checkpoint with its scale: the same curve", async () => {
    const settings = { precision: "float16" as const, lossScale: tooHigh, totalSteps: 24 };
    const inOne = await run("whole", settings);
    const stop = new AbortController();
    const part = await run("parts", { ...settings, signal: stop.signal, events: { onStep: ({ step }) => step === 18 && stop.abort() } });
    const rest = await run("parts", { ...settings, start: await part.checkpoints.latest() });
    expect([...part.losses, ...rest.losses]).toEqual(inOne.losses);
    expect(rest.steps.map(({ lossScale, skippedSteps }) => [lossScale, skippedSteps])).toEqual(
      inOne.steps.slice(18).map(({ lossScale, skippedSteps }) => [lossScale, skippedSteps]),
    );
    expect(rest.steps.at(-1)!.skippedSteps).toBeGreaterThan(0);
  });
});

describe("frozen weights of a run in float16", () => {
  async function load(read: (name: string) => Promise<Float32Array> = (name) => source.readFloat32(name)) {
    const target = { model, ...describeModel(model) };
    const method = adapt(target as MethodTarget);
    return loadParameters({
      ...{ specs: target.parameters, method, random: createRandom(1), storable: ["float32", "float16"], frozenMatricesIn: "float16" },
      source: { ...source, readFloat32: read },
    });
  }
  const checkpoint = openCheckpoint(openFolder(`${reference}families/llama`));
  let source: ReturnType<typeof weightsOf>;
  let model: ReturnType<typeof createModel>;

  it("are matrices in float16, beside vectors and trained weights in float32", async () => {
    source = weightsOf(await checkpoint);
    model = createModel((await checkpoint).config);
    const { parameters } = await load();
    for (const [name, { tensor, spec, gradient }] of parameters)
      expect([name, tensor.dtype]).toEqual([name, gradient || spec.shape.length < 2 ? "float32" : "float16"]);
    const name = "model.layers.0.mlp.down_proj.weight";
    const original = await source.readFloat32(name);
    float16ToFloat32(parameters.get(name)!.tensor.data as Uint16Array).forEach((value, i) => {
      expect(Math.abs(value - original[i]!)).toBeLessThan(1e-3 * Math.abs(original[i]!) + 1e-7);
    });
  });

  it("are refused where float16 does not hold them", async () => {
    source = weightsOf(await checkpoint);
    model = createModel((await checkpoint).config);
    const far = async (name: string): Promise<Float32Array> => (await source.readFloat32(name)).map((x, i) => (i === 5 ? 1e5 : x));
    await expect(load(far)).rejects.toThrow(/holds 100000; float16 ends at 65504.*training\.precision: float32/);
  });
});

describe("training.precision", () => {
  const wanted = (precision: Precision | undefined) => ({ training: { precision } }) as Parameters<typeof checkPrecision>[0];

  it("float16 is refused on the CPU, which computes in float32", async () => {
    await expect(checkPrecision(wanted("float16"), backend)).rejects.toThrow(
      /training\.precision: float16 needs a device that computes in it: webgpu on an adapter with shader-f16, or cuda\. The device cpu does not/,
    );
    await checkPrecision(wanted(undefined), backend);
    await checkPrecision(wanted("float16"), referenceBackend);
  });

  it("is tried on a WebGPU adapter that is there", async () => {
    const runtime = await loadOnnxRuntime();
    const { available, reason } = await tryDevice(runtime, "webgpu");
    if (!available) return console.log(`webgpu: skipped: ${reason}`);
    const webgpu = createOnnxBackend({ runtime, provider: "webgpu" });
    const why = await whyNoFloat16(webgpu);
    if (why === undefined) return checkPrecision(wanted("float16"), webgpu);
    expect(why).toMatch(/f16/); // SwiftShader has no shader-f16
    await expect(checkPrecision(wanted("float16"), webgpu)).rejects.toThrow(/The device webgpu does not: .*f16/);
  });
});
