/** Divergences from a teacher against torch, and the reference model inside the training engine. */
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import type { ByteSource } from "../../src/base/byte-source.ts";
import { createRandom } from "../../src/base/random.ts";
import { ignoredLabel, type TokenizedExample } from "../../src/data/batch.ts";
import { collate } from "../../src/data/batches.ts";
import { snapshot } from "../../src/execution/reference-model.ts";
import { ReferencePass } from "../../src/execution/reference-pass.ts";
import { encodeTopPredictions, indexDocuments, openTopPredictions, writeRow } from "../../src/execution/top-predictions.ts";
import { full } from "../../src/methods/full.ts";
import { lora } from "../../src/methods/lora/lora.ts";
import { SegmentBuilder } from "../../src/models/segment-builder.ts";
import { float32 } from "../../src/models/storage.ts";
import { distillation } from "../../src/objectives/distillation.ts";
import { gradients } from "../../src/tensor/autodiff.ts";
import { interpret } from "../../src/tensor/interpret.ts";
import { constant } from "../../src/tensor/ops/index.ts";
import { backend, batchOf, openTinyModel, reference } from "./tiny-model.ts";

interface Fixture {
  student: number[][];
  teacher: number[][];
  cases: { divergence: string; temperature: number; mixture: number; value: number; logitsGradient: number[][] }[];
  topCases: { topK: number; temperature: number; value: number; logitsGradient: number[][] }[];
}
const fixture = JSON.parse(readFileSync(`${reference}objectives/distillation.json`, "utf8")) as Fixture;
const array = (rows: number[][]) => ({ shape: [rows.length, rows[0]!.length], data: Float64Array.from(rows.flat()) });
const configOf = (more: object) => distillation.configSchema.parse({ name: "distillation", teacher: "start", ...more });

describe.each(fixture.cases)("$divergence, temperature $temperature, mixture $mixture", ({ value, logitsGradient, ...config }) => {
  it("agrees with torch in value and gradient", () => {
    const { student, teacher } = fixture;
    const [N, V] = [student.length, student[0]!.length];
    const build = new SegmentBuilder({ prefix: "", hooks: [], isTraining: true, storageOf: () => float32 });
    const { graph } = build;
    const features = graph.input("student", { dtype: "float32", shape: [N, V] });
    const { lossSum } = distillation.build({
      head: { features, vocabulary: { name: "identity", shape: [V, V], kind: "embedding" } },
      labels: graph.input("labels", { dtype: "int64", shape: [N] }),
      weights: graph.input("weights", { dtype: "float32", shape: [N] }),
      referenceLogits: graph.input("teacher", { dtype: "float32", shape: [N, V] }),
      target: (name, type) => graph.input(name, type),
      build,
      config: configOf({ ...config, labelWeight: 0, divergenceWeight: 1 }),
    });
    const [gradient] = gradients({ graph, outputs: [{ value: lossSum, gradient: constant(graph, 1 / N) }], wrt: [features] });
    graph.output("lossSum", lossSum);
    graph.output("gradient", gradient!);
    const identity = student[0]!.map((_, i) => student[0]!.map((__, j) => Number(i === j)));
    const labels = { shape: [N], data: new Float64Array(N) };
    const weights = { shape: [N], data: new Float64Array(N).fill(1) };
    const found = interpret(graph, { student: array(student), teacher: array(teacher), identity: array(identity), labels, weights });
    expect(found.lossSum!.data[0]! / N).toBeCloseTo(value, 5);
    for (const [i, expected] of logitsGradient.flat().entries()) expect(found.gradient!.data[i]).toBeCloseTo(expected, 5);
  });
});

describe.each(fixture.topCases)("the top $topK at temperature $temperature", ({ topK, temperature, value, logitsGradient }) => {
  it("agrees with torch in value and gradient", () => {
    const { student, teacher } = fixture;
    const [N, V] = [student.length, student[0]!.length];
    const build = new SegmentBuilder({ prefix: "", hooks: [], isTraining: true, storageOf: () => float32 });
    const { graph } = build;
    const features = graph.input("student", { dtype: "float32", shape: [N, V] });
    const input = (name: string, shape: number[], dtype: "float32" | "int64" = "float32") => graph.input(name, { dtype, shape });
    const { lossSum } = distillation.build({
      head: { features, vocabulary: { name: "identity", shape: [V, V], kind: "embedding" } },
      labels: input("labels", [N], "int64"),
      weights: input("weights", [N]),
      referenceTop: {
        positions: input("positions", [N, topK], "int64"),
        probabilities: input("probabilities", [N, topK]),
        rest: input("rest", [N]),
        negativeEntropy: input("negativeEntropy", [N]),
      },
      target: (name, type) => graph.input(name, type),
      build,
      config: configOf({ teacher: "other", topK, temperature, labelWeight: 0, divergenceWeight: 1 }),
    });
    const [gradient] = gradients({ graph, outputs: [{ value: lossSum, gradient: constant(graph, 1 / N) }], wrt: [features] });
    graph.output("lossSum", lossSum);
    graph.output("gradient", gradient!);
    const rows = teacher.map((logits) => {
      const row = new Float32Array(2 * topK + 2);
      const scaled = logits.map((logit) => logit / temperature);
      const normaliser = Math.log(scaled.reduce((sum, x) => sum + Math.exp(x), 0));
      writeRow(
        Float32Array.from(scaled, (x) => x - normaliser),
        topK,
        row,
      );
      return [...row];
    });
    const found = interpret(graph, {
      student: array(student),
      identity: array(student[0]!.map((_, i) => student[0]!.map((__, j) => Number(i === j)))),
      labels: { shape: [N], data: new Float64Array(N) },
      weights: { shape: [N], data: new Float64Array(N).fill(1) },
      positions: array(rows.map((row, n) => row.slice(0, topK).map((id) => n * V + id))),
      probabilities: array(rows.map((row) => row.slice(topK, 2 * topK))),
      rest: { shape: [N], data: Float64Array.from(rows, (row) => row[2 * topK]!) },
      negativeEntropy: { shape: [N], data: Float64Array.from(rows, (row) => row[2 * topK + 1]!) },
    });
    expect(found.lossSum!.data[0]! / N).toBeCloseTo(value, 5);
    for (const [i, expected] of logitsGradient.flat().entries()) expect(found.gradient!.data[i]).toBeCloseTo(expected, 5);
  });
});

const folder = (family: string): string => `${reference}families/${family}`;
const batch = batchOf([
  [5, 9, 3, 7, 1, 4, 8, 2],
  [2, 2, 6, 1, 9, 3, 5, 7],
]);
const step = { gradientScale: 1 / batch.targetLabels.length, seed: 0 };

describe("a reference model in the engine", () => {
  it("pulls with no force while the model is still itself, and back once it has moved", async () => {
    const opened = await openTinyModel({
      ...{ folder: folder("llama"), attach: (target) => lora.attach(target, lora.configSchema.parse({ name: "lora", rank: 2 })) },
      objective: { objective: distillation, config: configOf({ divergence: "reverse-kl", labelWeight: 0, divergenceWeight: 1 }) },
      reference: snapshot,
    });
    const { engine, store } = opened;
    const start = await engine.accumulate(batch, step);
    expect(Math.abs(start.lossSum)).toBeLessThan(1e-4);
    expect(await engine.gradientNorm()).toBeLessThan(1e-5);
    for (const { spec, tensor } of store.parameters.values()) if (spec.name.includes("lora_B")) (tensor.data as Float32Array).fill(0.05);
    await engine.update({ learningRate: 0, step: 1, gradientScale: 1 });
    const moved = await engine.accumulate(batch, step);
    expect(moved.lossSum).toBeGreaterThan(0.01);
    expect(await engine.gradientNorm()).toBeGreaterThan(1e-3);
  });

  it("is the causal-lm objective where only the labels count, and evaluates as that always", async () => {
    const plain = await openTinyModel({ folder: folder("llama"), attach: (target) => full.attach(target) });
    const teacher = await openTinyModel({ folder: folder("gpt2"), attach: (target) => full.attach(target) });
    const distilled = await openTinyModel({
      ...{ folder: folder("llama"), attach: (target) => full.attach(target), reference: () => teacher },
      objective: { objective: distillation, config: configOf({ labelWeight: 1, divergenceWeight: 0 }) },
    });
    const [a, b] = [await plain.engine.accumulate(batch, step), await distilled.engine.accumulate(batch, step)];
    expect(b.lossSum).toBeCloseTo(a.lossSum, 4);
    expect(await distilled.engine.gradientNorm()).toBeCloseTo(await plain.engine.gradientNorm(), 5);
    expect((await distilled.engine.evaluate(batch)).lossSum).toBeCloseTo((await plain.engine.evaluate(batch)).lossSum, 4);
  });

  it("learns a teacher of another family and width", async () => {
    const teacher = await openTinyModel({ folder: folder("gpt2"), attach: (target) => full.attach(target) });
    const { engine } = await openTinyModel({
      ...{ folder: folder("llama"), attach: (target) => full.attach(target), reference: () => teacher },
      objective: { objective: distillation, config: configOf({ labelWeight: 0, divergenceWeight: 1 }) },
    });
    const losses: number[] = [];
    for (let i = 1; i <= 20; i++) {
      losses.push((await engine.accumulate(batch, step)).lossSum);
      await engine.update({ learningRate: 1e-2, step: i, gradientScale: 1 });
    }
    expect(losses.at(-1)).toBeLessThan(0.5 * losses[0]!);
  });
});

describe("the likeliest predictions of a teacher, kept in a file", () => {
  const random = createRandom(4);
  const document = (length: number): TokenizedExample => {
    const inputIds = Int32Array.from({ length }, () => random.integer(60));
    return { inputIds, labels: inputIds.map((id, i) => (i < 2 ? ignoredLabel : id)) };
  };
  const examples = [9, 5, 12, 7, 16, 3].map(document);
  // Each document stands in another place than in the file, one beside it, one twice.
  const packed = collate([
    [examples[4]!, examples[1]!],
    [examples[3]!, examples[0]!, examples[5]!, examples[1]!],
  ]);
  const settings = { gradientScale: 1 / packed.targetLabels.length, seed: 0 };

  const inMemory = (bytes: Uint8Array): ByteSource => ({
    ...{ name: "teacher", size: bytes.length },
    read: async (offset, length) => bytes.slice(offset, offset + length),
  });

  async function openStudents(k: number) {
    const teacher = await openTinyModel({ folder: folder("gpt2"), attach: (target) => full.attach(target) });
    const { index, documents } = indexDocuments(examples);
    const pass = new ReferencePass(teacher, backend);
    const temperature = 1.5;
    const pieces: Uint8Array[] = [];
    const encoded = encodeTopPredictions({ ...{ pass, backend, documents, tokensAtOnce: 20 }, settings: { k, temperature } });
    for await (const piece of encoded) pieces.push(piece);
    const referenceTop = await openTopPredictions(inMemory(Buffer.concat(pieces)), { index, k });
    const student = (more: object, extra: object) =>
      openTinyModel({
        ...{ folder: folder("llama"), attach: (target) => full.attach(target), ...extra },
        objective: { objective: distillation, config: configOf({ teacher: "other", temperature, labelWeight: 0.3, ...more }) },
      });
    return {
      whole: await student({}, { reference: () => teacher }),
      top: await student({ topK: k }, { referenceTop }),
      vocabSize: teacher.model.vocabSize,
    };
  }

  it("are the whole distillation where k is the size of the vocabulary", async () => {
    const { vocabSize } = (await openTinyModel({ folder: folder("gpt2"), attach: (target) => full.attach(target) })).model;
    const { whole, top } = await openStudents(vocabSize);
    const [expected, found] = [await whole.engine.accumulate(packed, settings), await top.engine.accumulate(packed, settings)];
    expect(found.lossSum / expected.lossSum).toBeCloseTo(1, 5);
    for (const [g, { gradients }] of top.store.groups.entries()) {
      const other = whole.store.groups[g]!.gradients;
      const norm = Math.hypot(...other);
      expect(Math.hypot(...gradients.map((x, i) => x - other[i]!)) / norm).toBeLessThan(1e-5);
    }
  });

  it("pull in nearly the same direction where k is small", async () => {
    const { whole, top } = await openStudents(8);
    const [expected, found] = [await whole.engine.accumulate(packed, settings), await top.engine.accumulate(packed, settings)];
    expect(found.lossSum).toBeLessThan(expected.lossSum);
    const [a, b] = [top, whole].map(({ store }) => store.groups.flatMap(({ gradients }) => [...gradients]));
    const cosine = a!.reduce((sum, x, i) => sum + x * b![i]!, 0) / (Math.hypot(...a!) * Math.hypot(...b!));
    expect(cosine).toBeGreaterThan(0.8);
  });
});
