/** The supervised trainer on a tiny real model: resuming, accumulation, early stopping, interruption, divergence. */
import { mkdtempSync, readdirSync, rmSync, truncateSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { createRandom } from "../../src/base/random.ts";
import type { Batch } from "../../src/data/batch.ts";
import { lora } from "../../src/methods/lora/lora.ts";
import { createFolderShelf } from "../../src/platform/node/folder-shelf.ts";
import { createCheckpointStore } from "../../src/trainers/checkpoint.ts";
import { type SupervisedOptions, trainSupervised } from "../../src/trainers/supervised.ts";
import { batchOf, openTinyModel, reference } from "../conformance/tiny-model.ts";

const folder = mkdtempSync(join(tmpdir(), "tunesmith-training-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Batches of eight rows in which every token is followed by the next number: easy to learn. */
function batchesForEpoch(epoch: number): Batch[] {
  const random = createRandom(epoch + 1);
  const row = (): number[] => {
    const start = random.integer(60);
    return Array.from({ length: 8 }, (_, i) => start + i);
  };
  return Array.from({ length: 4 }, () => batchOf([row(), row()]));
}

async function run(name: string, options: Partial<SupervisedOptions> & { learningRate?: number; start?: SupervisedOptions["start"] } = {}) {
  const { engine } = await openTinyModel({
    folder: `${reference}families/llama`,
    attach: (target) => lora.attach(target, lora.configSchema.parse({ name: "lora", rank: 4, loraDropout: 0.1 })),
  });
  const losses: number[] = [];
  const checkpoints = createCheckpointStore({ shelf: createFolderShelf(join(folder, name)), keepLast: 2 });
  const outcome = await trainSupervised({
    ...{ engine, batchesForEpoch, validation: [], totalSteps: 10, gradientAccumulationSteps: 1, maxGradNorm: 1 },
    ...{ learningRateAt: () => options.learningRate ?? 1e-2, seed: 3, evalEvery: 2, saveEvery: 3, checkpoints },
    ...options,
    events: {
      ...options.events,
      onStep(event) {
        losses.push(event.loss);
        options.events?.onStep?.(event);
      },
    },
  });
  return { outcome, losses, checkpoints, engine };
}

describe("supervised training", () => {
  it("learns, and is the same for the same seed", async () => {
    const first = await run("a");
    const second = await run("b");
    expect(first.losses.at(-1)!).toBeLessThan(first.losses[0]! - 0.3);
    expect(second.losses).toEqual(first.losses);
  });

  it("continues an interrupted run exactly", async () => {
    const whole = await run("whole");
    const stop = new AbortController();
    const part = await run("part", { signal: stop.signal, events: { onStep: ({ step }) => step === 5 && stop.abort() } });
    expect(part.outcome).toMatchObject({ status: "interrupted", step: 5 });
    const rest = await run("part", { start: await part.checkpoints.latest() });
    expect([...part.losses, ...rest.losses]).toEqual(whole.losses);
  });

  it("passes over a damaged checkpoint", async () => {
    const { checkpoints } = await run("damaged");
    truncateSync(join(folder, "damaged", "checkpoint-10", "state.safetensors"), 100);
    const latest = await checkpoints.latest();
    expect(latest?.trainer.step).toBe(9);
  });

  it("keeps the last checkpoints and the best", async () => {
    await run("kept", { validation: batchesForEpoch(99), totalSteps: 12 });
    expect(readdirSync(join(folder, "kept")).sort()).toEqual(["checkpoint-10", "checkpoint-12"]);
  });

  it("takes the same step with one batch of four rows as with four of one", async () => {
    const rows = batchesForEpoch(0).flatMap((batch) => [0, 1].map((b) => [...batch.inputIds.slice(b * 8, b * 8 + 8)]));
    const plain = {
      attach: (target: Parameters<typeof lora.attach>[0]) => lora.attach(target, lora.configSchema.parse({ name: "lora", rank: 4 })),
    };
    const norms = await Promise.all(
      [[batchOf(rows)], rows.map((row) => batchOf([row]))].map(async (micro) => {
        const { engine } = await openTinyModel({ folder: `${reference}families/llama`, ...plain });
        for (const batch of micro) await engine.accumulate(batch, { gradientScale: 1 / (7 * rows.length), seed: 0 });
        return engine.gradientNorm();
      }),
    );
    expect(norms[0]!).toBeCloseTo(norms[1]!, 5);
  });

  it("stops early and restores the best", async () => {
    const validation = batchesForEpoch(99);
    const { outcome, engine } = await run("early", {
      validation,
      totalSteps: 60,
      evalEvery: 1,
      learningRate: 0.2,
      earlyStopping: { patience: 2, minDelta: 0 },
    });
    expect(outcome.status).toBe("stopped-early");
    let [loss, tokens] = [0, 0];
    for (const batch of validation) {
      const result = await engine.evaluate(batch);
      loss += result.lossSum;
      tokens += result.tokens;
    }
    expect(loss / tokens).toBeCloseTo(outcome.best!.loss, 5);
  });

  it("explains a loss that is not a number", async () => {
    await expect(run("nan", { learningRate: 1e30, maxGradNorm: 0 })).rejects.toThrow(
      /step \d+: the (loss|gradient norm) is (NaN|Infinity).*optimizer\.learningRate/s,
    );
  });
});
