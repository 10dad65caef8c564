/** Every optimizer and every average of the weights in a run: learns, stops and goes on from the disk as if it had not, and evaluates the weights that it leaves. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { createRandom } from "../../src/base/random.ts";
import type { Batch } from "../../src/data/batch.ts";
import { full } from "../../src/methods/full.ts";
import { lora } from "../../src/methods/lora/lora.ts";
import { optimizers } from "../../src/optimizers/registry.ts";
import { createFolderShelf } from "../../src/platform/node/folder-shelf.ts";
import { createCheckpointStore } from "../../src/trainers/checkpoint.ts";
import { evaluateLoss, trainSupervised } from "../../src/trainers/supervised.ts";
import { createEvaluationWeights, createWeightAverage, type WeightAverageConfig } from "../../src/trainers/weight-average.ts";
import { batchOf, openTinyModel, reference } from "../conformance/tiny-model.ts";

const folder = mkdtempSync(join(tmpdir(), "tunesmith-optimizers-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Rows in which every token is followed by the next number. */
function batchesForEpoch(epoch: number): Batch[] {
  const random = createRandom(epoch + 1);
  const row = (): number[] => {
    const start = random.integer(60);
    return Array.from({ length: 8 }, (_, i) => start + i);
  };
  return Array.from({ length: 4 }, () => batchOf([row(), row()]));
}
const validation = batchesForEpoch(99);

interface Setting {
  readonly optimizer: Readonly<Record<string, unknown>> & { readonly learningRate: number };
  readonly average?: WeightAverageConfig;
}

async function run(name: string, { optimizer, average: config, stopAt }: Setting & { stopAt?: number }) {
  const { engine, store, trainedOptimizer } = await openTinyModel({
    ...{ folder: `${reference}families/llama`, attach: (target) => full.attach(target), optimizer },
  });
  const [losses, evaluations]: [number[], number[]] = [[], []];
  const checkpoints = createCheckpointStore({ shelf: createFolderShelf(join(folder, name)), keepLast: 2 });
  const stop = new AbortController();
  const { trained } = store;
  const totalSteps = 12;
  const average = config && createWeightAverage({ trained, config, totalSteps });
  const writeTo = average ? average.writeTo : trainedOptimizer.writeEvaluationWeights;
  const outcome = await trainSupervised({
    ...{ engine, batchesForEpoch, validation, totalSteps, gradientAccumulationSteps: 1, maxGradNorm: 1 },
    ...{ learningRateAt: (step) => optimizer.learningRate * Math.min(1, (step + 1) / 3), seed: 3, evalEvery: 2, saveEvery: 3, checkpoints },
    ...{ start: await checkpoints.latest(), signal: stop.signal, average },
    evaluationWeights: writeTo && createEvaluationWeights({ trained, writeTo }),
    events: {
      onStep({ step, loss }) {
        losses.push(loss);
        if (step === stopAt) stop.abort();
      },
      onEvaluation: ({ loss }) => evaluations.push(loss),
    },
  });
  return { outcome, losses, evaluations, left: (await evaluateLoss(engine, validation)).loss };
}

const settings: readonly (Setting & { readonly title: string })[] = [
  ...optimizers.map(({ name }) => ({
    title: name,
    optimizer: { name, learningRate: name === "sgd" ? 0.3 : 2e-2, ...(name === "adamw-8bit" && { min8bitSize: 500 }) },
  })),
  { title: "adafactor with momentum", optimizer: { name: "adafactor", learningRate: 2e-2, beta1: 0.9 } },
  { title: "adamw with an exponential average", optimizer: { name: "adamw", learningRate: 2e-2 }, average: { name: "ema", decay: 0.8 } },
  {
    title: "adamw with a plain average",
    optimizer: { name: "adamw", learningRate: 2e-2 },
    average: { name: "swa", startRatio: 0.25, every: 2 },
  },
];

describe.each(settings)("$title", ({ title, ...setting }) => {
  it("learns, and goes on from a checkpoint exactly", async () => {
    const whole = await run(`${title}, whole`, setting);
    const part = await run(`${title}, in parts`, { ...setting, stopAt: 5 });
    const rest = await run(`${title}, in parts`, setting);
    expect(part.outcome).toMatchObject({ status: "interrupted", step: 5 });
    expect(whole.evaluations.at(-1)!).toBeLessThan(whole.evaluations[0]! - 0.1);
    expect([...part.losses, ...rest.losses]).toEqual(whole.losses);
    expect([...part.evaluations, ...rest.evaluations]).toEqual(whole.evaluations);
    expect(rest.left).toBe(whole.left);
    expect(whole.left).toBeCloseTo(whole.outcome.best!.loss, 5);
  });
});

describe("weights for evaluation", () => {
  it("leave no trace in training", async () => {
    const optimizer = { name: "schedule-free-adamw", learningRate: 2e-2 };
    const averaged = await run("traceless, averaged", {
      optimizer: { name: "adamw", learningRate: 2e-2 },
      average: { name: "ema", decay: 0.9 },
    });
    const plain = await run("traceless, plain", { optimizer: { name: "adamw", learningRate: 2e-2 } });
    expect(averaged.losses).toEqual(plain.losses);
    expect(averaged.evaluations).not.toEqual(plain.evaluations);
    expect((await run("traceless, schedule-free", { optimizer })).losses).toHaveLength(12);
  });
});

describe("parameter groups in a model", () => {
  const batch = validation[0]!;
  /** How far each parameter moves in one step of plain gradient descent, by its gradient. */
  async function stepSizes(optimizer: Readonly<Record<string, unknown>>, method: "full" | "lora+" = "full"): Promise<Map<string, number>> {
    const { engine, store } = await openTinyModel({
      folder: `${reference}families/llama`,
      attach: (target) =>
        method === "full"
          ? full.attach(target)
          : lora.attach(target, lora.configSchema.parse({ name: "lora", rank: 2, loraPlusLrRatio: 4 })),
      optimizer: { name: "sgd", momentum: 0, learningRate: 0.1, ...optimizer },
    });
    await engine.accumulate(batch, { gradientScale: 1, seed: 0 });
    const before = store.groups.map(({ parameters, gradients }) => ({ parameters: parameters.slice(), gradients: gradients.slice() }));
    await engine.update({ learningRate: 0.1, step: 1, gradientScale: 1 });
    const sizes = new Map<string, number>();
    for (const [g, { parameters, layout }] of store.groups.entries()) {
      for (const [name, { offset, length }] of layout) {
        let [moved, gradient] = [0, 0];
        for (let i = offset; i < offset + length; i++) {
          moved += Math.abs(parameters[i]! - before[g]!.parameters[i]!);
          gradient += Math.abs(before[g]!.gradients[i]!);
        }
        if (gradient > 0) sizes.set(name, moved / gradient);
      }
    }
    return sizes;
  }
  const last = (name: string): string => `model.layers.1.${name}`;

  it("slow the lower layers down, more with every block", async () => {
    const sizes = await stepSizes({ layerDecay: 0.5 });
    expect(sizes.get("model.norm.weight")).toBeCloseTo(0.1, 4);
    expect(sizes.get(last("mlp.down_proj.weight"))).toBeCloseTo(0.05, 4);
    expect(sizes.get("model.layers.0.mlp.down_proj.weight")).toBeCloseTo(0.025, 4);
    expect(sizes.get("model.embed_tokens.weight")).toBeCloseTo(0.0125, 4);
  });

  it("give parameters a rate of their own by pattern, the first that matches", async () => {
    const groups = [
      { parameters: ["*.mlp.*"], learningRate: 0.3 },
      { parameters: ["model.layers.*"], learningRate: 0.2 },
    ];
    const sizes = await stepSizes({ groups });
    expect(sizes.get(last("mlp.up_proj.weight"))).toBeCloseTo(0.3, 4);
    expect(sizes.get(last("self_attn.q_proj.weight"))).toBeCloseTo(0.2, 4);
    expect(sizes.get("model.norm.weight")).toBeCloseTo(0.1, 4);
  });

  it("multiply with the method's own factor", async () => {
    const sizes = await stepSizes({ groups: [{ parameters: ["model.layers.1.*"], learningRate: 0.2 }] }, "lora+");
    const rateOf = (layer: number, module: string): number =>
      [...sizes].find(([name]) => name.includes(`layers.${layer}.self_attn.q_proj`) && name.includes(module))![1];
    expect(rateOf(1, "lora_B")).toBeCloseTo(0.8, 3);
    expect(rateOf(0, "lora_B")).toBeCloseTo(0.4, 3);
  });
});
