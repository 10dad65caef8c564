/** Heads for labels have dropout where transformers' classes have it, with the probability that config.json says; it is there in training only, and differs from step to step. */
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import type { Batch } from "../../src/data/batch.ts";
import { collate } from "../../src/data/batches.ts";
import { sameToken, wholeDocument } from "../../src/data/collators.ts";
import { full } from "../../src/methods/full.ts";
import { lora } from "../../src/methods/lora/lora.ts";
import { createModel } from "../../src/models/families/registry.ts";
import { withLabelHead } from "../../src/models/label-heads.ts";
import type { LabelHeadName } from "../../src/models/model.ts";
import { type ParameterSpec, SegmentBuilder } from "../../src/models/segment-builder.ts";
import { float32 } from "../../src/models/storage.ts";
import { singleLabelClassification } from "../../src/objectives/single-label-classification.ts";
import type { Value } from "../../src/tensor/graph.ts";
import { openTinyModel, reference } from "./tiny-model.ts";

interface Case {
  readonly head: LabelHeadName;
  readonly config: { readonly model_type: string };
  readonly passed: readonly (number | "linear")[];
}
const { cases } = JSON.parse(readFileSync(`${reference}head-dropout/reference.json`, "utf8")) as { cases: Case[] };

/** Writes down what a head does. */
class Recorder extends SegmentBuilder {
  readonly passed: (number | "linear")[] = [];
  readonly #weights = new Set<string>();
  constructor() {
    super({ prefix: "", hooks: [], isTraining: true, storageOf: () => float32 });
  }
  override dropout(value: Value, p: number): Value {
    this.passed.push(p);
    return super.dropout(value, p);
  }
  override parameter(spec: ParameterSpec): Value {
    // BERT's pooler is a part of the model there.
    const isNew = !this.#weights.has(spec.name);
    if (isNew && spec.shape.length === 2 && !spec.name.includes("pooler")) this.passed.push("linear");
    this.#weights.add(spec.name);
    return super.parameter(spec);
  }
}
/** A dropout of nothing is none. */
const effective = (passed: readonly (number | "linear")[]) => passed.filter((step) => step !== 0);

it.each(cases.map((one) => [one.config.model_type, one.head, one] as const))(
  "%s, %s: as in transformers",
  (_, name, { config, passed }) => {
    const { labelHead, hiddenSize } = withLabelHead(createModel(config), { name, numLabels: 2 });
    const build = new Recorder();
    labelHead!.build(build, build.graph.input("rows", { dtype: "float32", shape: [3, hiddenSize] }), 2);
    expect(effective(build.passed)).toEqual(effective(passed));
  },
);

it("a probability out of range is refused", () => {
  const config = { ...cases[0]!.config, classifier_dropout: 1 };
  expect(() => createModel(config)).toThrow("config.json: classifier_dropout is 1; expected a probability from 0 to below 1.");
});

describe("in training", () => {
  const temporary = mkdtempSync(join(tmpdir(), "tunesmith-dropout-"));
  afterAll(() => rmSync(temporary, { recursive: true, force: true }));

  const row = (...ids: number[]): Int32Array => Int32Array.from(ids);
  const documents = [row(3, 5, 9, 11, 13, 15, 2), row(3, 8, 7, 2), row(3, 20, 21, 2)];
  const batch = collate(
    documents.map((inputIds, i) => [{ inputIds, labels: row(), target: [i] }]),
    wholeDocument({ pools: "first", target: "class" }),
  );
  const open = (classifierDropout: number) => {
    const folder = mkdtempSync(join(temporary, "bert-"));
    cpSync(join(reference, "label-heads/bert-single"), folder, { recursive: true });
    const config = JSON.parse(readFileSync(join(folder, "config.json"), "utf8")) as object;
    writeFileSync(join(folder, "config.json"), JSON.stringify({ ...config, classifier_dropout: classifierDropout }));
    return openTinyModel({
      ...{ folder, head: { name: "sequence-classification", numLabels: 3 }, attach: (target) => full.attach(target) },
      objective: { objective: singleLabelClassification, config: {} },
    });
  };
  const lossAt = async ({ engine }: Awaited<ReturnType<typeof open>>, seed: number): Promise<number> => {
    const { lossSum } = await engine.accumulate(batch, { gradientScale: 1, seed });
    return lossSum;
  };

  it("every step drops other numbers, and evaluation none", async () => {
    const [dropping, whole] = [await open(0.5), await open(0)];
    const losses = [await lossAt(dropping, 1), await lossAt(dropping, 2), await lossAt(dropping, 1)];
    expect(losses[2]).toBe(losses[0]);
    expect(losses[1]).not.toBe(losses[0]);
    const { lossSum } = await whole.engine.evaluate(batch);
    expect((await dropping.engine.evaluate(batch)).lossSum).toBe(lossSum);
    expect(await lossAt(whole, 1)).toBeCloseTo(lossSum, 5);
    // On average the loss is not far from that of the whole head.
    let sum = 0;
    for (let seed = 0; seed < 100; seed++) sum += await lossAt(dropping, seed);
    expect(sum / 100 / lossSum).toBeGreaterThan(0.9);
    expect(sum / 100 / lossSum).toBeLessThan(1.6);
  });

  it("gradients are those of what was not dropped", async () => {
    const opened = await open(0.5);
    await lossAt(opened, 4);
    const { tensor, gradient } = opened.store.parameters.get("classifier.weight")!;
    const [values, found] = [tensor.data as Float32Array, [...gradient!]];
    // With half of the numbers gone, some channels are dropped in all three documents.
    const dropped = Array.from({ length: 32 }, (_, channel) => [0, 1, 2].every((label) => found[32 * label + channel] === 0));
    expect(dropped.filter(Boolean).length).toBeGreaterThan(0);
    expect(dropped.filter(Boolean).length).toBeLessThan(16);
    for (const at of [0, 17, 40]) {
      const around: number[] = [];
      const held = values[at]!;
      for (const step of [0.01, -0.01]) {
        values[at] = held + step;
        around.push(await lossAt(opened, 4));
      }
      values[at] = held;
      expect(Math.abs((around[0]! - around[1]!) / 0.02 - found[at]!)).toBeLessThan(2e-3);
    }
  });

  it("methods may drop inside a head for words", async () => {
    const { engine } = await openTinyModel({
      folder: join(reference, "encoders/bert"),
      attach: (target) =>
        lora.attach(target, lora.configSchema.parse({ name: "lora", rank: 2, loraDropout: 0.5, targetModules: ["transform.dense"] })),
    });
    const hidden: Batch = collate([[{ inputIds: documents[0]!, labels: row(-100, 6, -100, 12, -100, 15, -100) }]], sameToken);
    const gradientsAt = async (seed: number): Promise<number> => {
      engine.discardGradients();
      await engine.accumulate(hidden, { gradientScale: 1, seed });
      return engine.gradientNorm();
    };
    const norms = [await gradientsAt(1), await gradientsAt(2), await gradientsAt(1)];
    expect(norms[2]).toBe(norms[0]);
    expect(norms[1]).not.toBe(norms[0]);
  });
});
