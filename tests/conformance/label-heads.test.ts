/** Heads for labels against transformers: logits, loss, gradients and an AdamW step, documents in rows of their own and packed into one. */
import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { collate } from "../../src/data/batches.ts";
import { wholeDocument } from "../../src/data/collators.ts";
import { headOfCheckpoint } from "../../src/export/config-json.ts";
import { full } from "../../src/methods/full.ts";
import type { LabelHeadName } from "../../src/models/model.ts";
import { labelObjectives } from "../../src/objectives/registry.ts";
import { asHeadReads } from "../../src/tasks/shifted-documents.ts";
import { expectSummary, type Summary } from "./expect-summary.ts";
import { openTinyModel, reference } from "./tiny-model.ts";

interface Reference {
  inputIds: number[][];
  labels: (number | number[])[];
  loss: number;
  logits: number[][];
  gradients: Record<string, Summary>;
  lossAfterStep: number;
  optimizer: { learningRate: number; weightDecay: number; epsilon: number };
}
interface Config {
  problem_type: string;
  id2label: Record<string, string>;
}

const read = <T>(path: string): T => JSON.parse(readFileSync(path, "utf8")) as T;
const objectiveOf = ({ problem_type }: Config) => labelObjectives.find(({ name }) => name === problem_type.replaceAll("_", "-"))!;

describe.each(readdirSync(`${reference}label-heads`))("%s", (name) => {
  const folder = `${reference}label-heads/${name}`;
  const expected = read<Reference>(`${folder}/reference.json`);
  const config = read<Config & Record<string, unknown>>(`${folder}/config.json`);
  const head = { name: headOfCheckpoint(config) as LabelHeadName, numLabels: Object.keys(config.id2label).length };
  const { learningRate, weightDecay, epsilon } = expected.optimizer;
  const open = () =>
    openTinyModel({
      ...{ folder, head, attach: (target) => full.attach(target), optimizer: { learningRate, weightDecay, epsilon } },
      objective: { objective: objectiveOf(config), config: {} },
    });
  const examples = expected.inputIds.map((ids, i) => ({
    inputIds: Int32Array.from(ids),
    labels: new Int32Array(0),
    target: [expected.labels[i]!].flat(),
  }));

  it.each([
    ["in rows of their own", examples.map((example) => [example])],
    ["packed into one row", [examples]],
  ])("agrees with transformers, documents %s", async (_, sequences) => {
    const { engine, store, model } = await open();
    const { pools } = model.labelHead!;
    const batch = collate(
      sequences.map((documents) => documents.map((document) => asHeadReads(document, model.labelHead!))),
      wholeDocument({ pools, target: objectiveOf(config).name === "single-label-classification" ? "class" : "values" }),
    );
    const { predictions } = await engine.evaluate(batch);
    expected.logits.flat().forEach((logit, i) => expect(Math.abs(predictions![i]! - logit)).toBeLessThan(1e-4));
    const { lossSum, tokens } = await engine.accumulate(batch, { gradientScale: 1 / batch.targetLabels.length, seed: 0 });
    expect(tokens).toBe(examples.length);
    expect(Math.abs(lossSum / tokens - expected.loss)).toBeLessThan(1e-5);
    for (const [parameter, summary] of Object.entries(expected.gradients))
      expectSummary(parameter, store.parameters.get(parameter)!.gradient!, summary, 1e-4);
    await engine.update({ learningRate, step: 1, gradientScale: 1 });
    const after = await engine.evaluate(batch);
    expect(Math.abs(after.lossSum / after.tokens - expected.lossAfterStep)).toBeLessThan(1e-4);
  });
});
