/** The loss that keeps routers even, against transformers: its value, gradients of both losses together, one AdamW step. */
import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { collate } from "../../src/data/batches.ts";
import { full } from "../../src/methods/full.ts";
import { routingSums } from "../../src/objectives/side-losses/router-balance.ts";
import { expectSummary, type Summary } from "./expect-summary.ts";
import { openTinyModel, reference } from "./tiny-model.ts";

interface Reference {
  inputIds: number[][];
  coef: number;
  loss: number;
  auxLoss: number;
  gradients: Record<string, Summary>;
  lossAfterStep: number;
  auxLossAfterStep: number;
  optimizer: { learningRate: number; weightDecay: number; epsilon: number };
}

describe.each(readdirSync(`${reference}router-loss`))("%s", (file) => {
  const expected = JSON.parse(readFileSync(`${reference}router-loss/${file}`, "utf8")) as Reference;
  const folder = `${reference}families/${file.replace(".json", "")}`;
  const { learningRate, weightDecay, epsilon } = expected.optimizer;
  const open = (activationCheckpointing: "none" | "block") =>
    openTinyModel({
      ...{ folder, attach: (target) => full.attach(target), regularisers: [routingSums], activationCheckpointing },
      optimizer: { learningRate, weightDecay, epsilon },
    });
  const documents = expected.inputIds.map((ids) => ({ inputIds: Int32Array.from(ids), labels: Int32Array.from(ids) }));
  const batch = collate(documents.map((document) => [document]));
  const targets = batch.targetLabels.length;
  const once = { gradientScale: 1 / targets, seed: 0, routerAuxLossCoef: expected.coef };

  it.each(["none", "block"] as const)(
    "agrees with transformers, padding left out (activation checkpointing: %s)",
    async (checkpointing) => {
      const { engine, store } = await open(checkpointing);
      const result = await engine.accumulate(batch, once);
      expect(Math.abs(result.routerAuxLoss! - expected.auxLoss)).toBeLessThan(1e-5);
      expect(Math.abs(result.lossSum / targets + expected.coef * result.routerAuxLoss! - expected.loss)).toBeLessThan(1e-5);
      for (const [name, summary] of Object.entries(expected.gradients))
        expectSummary(name, store.parameters.get(name)!.gradient!, summary, 1e-4);
      await engine.update({ learningRate, step: 1, gradientScale: 1 });
      const after = await engine.accumulate(batch, once);
      expect(Math.abs(after.routerAuxLoss! - expected.auxLossAfterStep)).toBeLessThan(1e-4);
      expect(Math.abs(after.lossSum / targets + expected.coef * after.routerAuxLoss! - expected.lossAfterStep)).toBeLessThan(1e-4);
    },
  );
});
