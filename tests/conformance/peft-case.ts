/** What tests of methods against PEFT share: an adapter that PEFT wrote, opened on its base, and its recorded training curve. */
import { readFileSync } from "node:fs";
import { expect } from "vitest";
import type { Batch } from "../../src/data/batch.ts";
import { readAdapter } from "../../src/execution/weights/adapter-files.ts";
import { openFolder } from "../../src/platform/node/files.ts";
import { expectSummary, type Summary } from "./expect-summary.ts";
import { openTinyModel, reference } from "./tiny-model.ts";

export interface CurveReference {
  readonly base: string;
  readonly inputIds: number[][];
  readonly loss: number;
  readonly gradients: Record<string, Summary>;
  readonly optimizer: { readonly learningRate: number };
  readonly lossBeforeStep: number[];
  readonly parametersAfterSteps: Record<string, Summary>;
}

export const readReference = <Reference extends CurveReference>(folder: string): Reference =>
  JSON.parse(readFileSync(`${folder}/reference.json`, "utf8")) as Reference;

/** The base of a case with the adapter in `folder`/adapter on it. */
export async function openPeftCase(folder: string) {
  const expected = readReference(folder);
  const adapter = await readAdapter(openFolder(`${folder}/adapter`));
  const opened = await openTinyModel({
    folder: `${reference}${expected.base}`,
    attach: (target) => adapter.method.attach(target, adapter.config),
    optimizer: expected.optimizer,
  });
  adapter.loadInto(opened.store, opened.method);
  return opened;
}

export interface CurveOptions {
  readonly opened: Awaited<ReturnType<typeof openTinyModel>>;
  readonly expected: CurveReference;
  readonly batch: Batch;
  /** Our parameter for a name of the reference, with the values to compare. */
  pick(name: string, part: "values" | "gradient"): Float32Array;
}

/** Loss to 2e-5 before every step, gradients of the first to 1e-4, and what the last step leaves to 1e-3. */
export async function expectCurve({ opened: { engine }, expected, batch, pick }: CurveOptions): Promise<void> {
  for (const [step, loss] of expected.lossBeforeStep.entries()) {
    const { lossSum, tokens } = await engine.accumulate(batch, { gradientScale: 1 / batch.targetLabels.length, seed: 0 });
    expect(Math.abs(lossSum / tokens - loss), `loss before step ${step + 1}`).toBeLessThan(2e-5);
    if (step === 0)
      for (const [name, summary] of Object.entries(expected.gradients)) expectSummary(name, pick(name, "gradient"), summary, 1e-4);
    await engine.update({ learningRate: expected.optimizer.learningRate, step: step + 1, gradientScale: 1 });
  }
  for (const [name, summary] of Object.entries(expected.parametersAfterSteps)) expectSummary(name, pick(name, "values"), summary, 1e-3);
}

/** The values or the gradient of a parameter by our name. */
export const parameterOf =
  ({ store }: Awaited<ReturnType<typeof openTinyModel>>) =>
  (name: string, part: "values" | "gradient"): Float32Array => {
    const parameter = store.parameters.get(name);
    if (!parameter) throw new Error(`no parameter ${name}; known: ${[...store.parameters.keys()].join(", ")}`);
    return part === "gradient" ? parameter.gradient! : (parameter.tensor.data as Float32Array);
  };
