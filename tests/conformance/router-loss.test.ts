/** The loss of a mixture's routers against transformers: with padding, in packed rows, over micro-batches, with and without activation checkpointing. */
import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import type { Batch, TokenizedExample } from "../../src/data/batch.ts";
import { collate } from "../../src/data/batches.ts";
import { createPassMemory } from "../../src/execution/create-pass-memory.ts";
import { chunksOf, createContexts, ModelPass } from "../../src/execution/model-pass.ts";
import { compileTraining, segmentsOf } from "../../src/execution/training-program.ts";
import { Workspace } from "../../src/execution/workspace.ts";
import { full } from "../../src/methods/full.ts";
import { createModel } from "../../src/models/families/registry.ts";
import { causalLm } from "../../src/objectives/causal-lm.ts";
import { routingSums } from "../../src/objectives/side-losses/router-balance.ts";
import { expectSummary, type Summary } from "./expect-summary.ts";
import { backend, openTinyModel, reference } from "./tiny-model.ts";

interface RouterReference {
  documents: number[][];
  coefficient: number;
  loss: number;
  auxLoss: number;
  gradients: Record<string, Summary>;
  parametersAfterStep: Record<string, Summary>;
  auxLossAfterStep: number;
  optimizer: { learningRate: number; weightDecay: number; epsilon: number };
  accumulated: { auxLosses: number[]; gradients: Record<string, Summary> };
}

const read = <T>(path: string): T => JSON.parse(readFileSync(`${reference}${path}`, "utf8")) as T;
const exampleOf = (ids: readonly number[]): TokenizedExample => ({ inputIds: Int32Array.from(ids), labels: Int32Array.from(ids) });
const batchOf = (sequences: readonly (readonly number[])[][]): Batch => collate(sequences.map((documents) => documents.map(exampleOf)));

describe.each(readdirSync(`${reference}router-loss`))("%s", (family) => {
  const expected = read<RouterReference>(`router-loss/${family}/reference.json`);
  const { coefficient, optimizer } = expected;
  const [first, second, third] = expected.documents as [number[], number[], number[]];
  const padded = batchOf([[first], [second], [third]]);
  const open = (options: { activationCheckpointing?: "none" | "block"; regularisers?: [] } = {}) =>
    openTinyModel({
      folder: `${reference}families/${family}`,
      attach: (target) => full.attach(target),
      optimizer: { ...optimizer },
      regularisers: [routingSums],
      ...options,
    });
  const scaleOf = (...batches: Batch[]): number => 1 / batches.reduce((sum, { targetLabels }) => sum + targetLabels.length, 0);

  it.each([
    { title: "padded rows", batch: padded, activationCheckpointing: "none" },
    { title: "padded rows, with activation checkpointing", batch: padded, activationCheckpointing: "block" },
    { title: "the same documents packed into two rows", batch: batchOf([[first], [second, third]]), activationCheckpointing: "none" },
  ] as const)("agrees in loss, gradients and an optimizer step: $title", async ({ batch, activationCheckpointing }) => {
    const { engine, store } = await open({ activationCheckpointing });
    const {
      lossSum,
      tokens,
      routerAuxLoss: auxLoss,
    } = await engine.accumulate(batch, { gradientScale: scaleOf(batch), seed: 0, routerAuxLossCoef: coefficient });
    expect(Math.abs(auxLoss! - expected.auxLoss)).toBeLessThan(1e-5);
    expect(Math.abs(lossSum / tokens + coefficient * auxLoss! - expected.loss)).toBeLessThan(1e-5);
    for (const [name, summary] of Object.entries(expected.gradients))
      expectSummary(name, store.parameters.get(name)!.gradient!, summary, 1e-4);
    await engine.update({ learningRate: optimizer.learningRate, step: 1, gradientScale: 1 });
    for (const [name, summary] of Object.entries(expected.parametersAfterStep))
      expectSummary(name, store.parameters.get(name)!.tensor.data as Float32Array, summary, 1e-4);
    const after = await engine.accumulate(batch, { gradientScale: scaleOf(batch), seed: 0, routerAuxLossCoef: coefficient });
    expect(Math.abs(after.routerAuxLoss! - expected.auxLossAfterStep)).toBeLessThan(1e-4);
  });

  it("weighs micro-batches by their targets", async () => {
    const micro = [batchOf([[first], [second]]), batchOf([[third]])];
    const { engine, store } = await open();
    for (const [i, batch] of micro.entries()) {
      const { routerAuxLoss: auxLoss } = await engine.accumulate(batch, {
        gradientScale: scaleOf(...micro),
        seed: 0,
        routerAuxLossCoef: coefficient,
      });
      expect(Math.abs(auxLoss! - expected.accumulated.auxLosses[i]!)).toBeLessThan(1e-5);
    }
    for (const [name, summary] of Object.entries(expected.accumulated.gradients))
      expectSummary(name, store.parameters.get(name)!.gradient!, summary, 1e-4);
  });

  it("is left out of evaluation, and gives nothing where it is off", async () => {
    const { engine } = await open();
    expect(await engine.evaluate(padded)).not.toHaveProperty("routerAuxLoss");
    const { engine: without } = await open({ regularisers: [] });
    const { lossSum, ...result } = await without.accumulate(padded, { gradientScale: 1, seed: 0 });
    expect(result).not.toHaveProperty("routerAuxLoss");
    expect(lossSum).toBe((await engine.evaluate(padded)).lossSum);
  });

  it.each([
    { title: "where it is on", regularisers: [routingSums], isRead: true },
    { title: "and nowhere else", regularisers: [], isRead: false },
  ])("reads which tokens count: $title", async ({ regularisers, isRead }) => {
    const { model, method, store } = await open();
    const program = await compileTraining(
      {
        ...{ backend, model, method, store, regularisers, activationCheckpointing: "none" },
        ...{ objective: causalLm, objectiveConfig: { name: "causal-lm", labelSmoothing: 0 } },
      },
      chunksOf(padded),
    );
    const graphs = segmentsOf(program.trunk).flatMap(({ forwardGraph, backward }) => [forwardGraph, ...(backward ? [backward.graph] : [])]);
    expect(graphs.some(({ inputs }) => inputs.has("tokenWeights"))).toBe(isRead);
    const memory = createPassMemory(backend, new Workspace());
    const brought: (readonly number[])[] = [];
    const pass = new ModelPass({
      ...{ batch: padded, layout: padded, chunks: chunksOf(padded), program, store, seed: 0 },
      contexts: createContexts(model, backend.compile),
      memory: {
        ...memory,
        bring(tensor) {
          if (tensor.dtype === "float32") brought.push(tensor.dims);
          return memory.bring(tensor);
        },
      },
    });
    await pass.forward(false);
    expect(brought).toEqual(isRead ? expect.arrayContaining([[3, padded.tokens]]) : expect.not.arrayContaining([[3, padded.tokens]]));
  });
});

describe.each(["mixtral", "qwen3_moe"])("config.json of %s", (family) => {
  const config = read<Record<string, unknown>>(`families/${family}/config.json`);
  const routingOf = (fields: object) => createModel({ ...config, ...fields }).routing!;
  it("asks for the loss by output_router_logits", () => {
    expect(routingOf({ output_router_logits: false }).hasAuxLoss).toBe(false);
    expect(routingOf({ output_router_logits: true, router_aux_loss_coef: 0.02 })).toMatchObject({ hasAuxLoss: true, auxLossCoef: 0.02 });
    expect(routingOf({ output_router_logits: true, router_aux_loss_coef: undefined }).auxLossCoef).toBe(0.001);
  });
  it("cannot ask for a negative weight", () => {
    expect(() => routingOf({ router_aux_loss_coef: -1 })).toThrow("router_aux_loss_coef is -1; expected 0 or more");
  });
});
