/** Metrics of written texts against sacrebleu and rouge-score. */
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { bootstrapMetrics } from "../../src/evaluation/paired-bootstrap.ts";
import { computeTaskMetrics, metricsFor, textMetrics } from "../../src/evaluation/task-metrics/registry.ts";
import type { ScoresOf } from "../../src/evaluation/task-metrics/task-metric.ts";
import { stem } from "../../src/evaluation/texts/porter-stemmer.ts";
import { reference } from "./tiny-model.ts";

interface TextCase {
  name: string;
  predicted: string[];
  actual: string[][];
  metrics: Record<string, number>;
}
const { cases } = JSON.parse(readFileSync(`${reference}text-metrics/metrics.json`, "utf8")) as { cases: TextCase[] };
const scoresOf = ({ predicted, actual }: Pick<TextCase, "predicted" | "actual">): ScoresOf<"texts"> => ({
  kind: "texts",
  items: predicted.map((text, i) => ({ predicted: text, actual: actual[i]! })),
  metrics: textMetrics,
});

describe("metrics of texts agree with sacrebleu and rouge-score", () => {
  it.each(cases.map((one) => [one.name, one] as const))("%s", (_, one) => {
    const scores = scoresOf(one);
    const computed = Object.fromEntries(metricsFor(scores).map((metric) => [metric.name, metric.compute(scores)]));
    expect(Object.keys(computed).sort()).toEqual(Object.keys(one.metrics).sort());
    for (const [name, value] of Object.entries(one.metrics)) expect(Math.abs(computed[name]! - value), name).toBeLessThan(1e-6);
  });
});

describe("with a stemmer", () => {
  interface Stems {
    readonly stems: Readonly<Record<string, string>>;
    readonly cases: readonly Omit<TextCase, "name">[];
  }
  const { stems, cases } = JSON.parse(readFileSync(`${reference}text-metrics/stemmer.json`, "utf8")) as Stems;

  it("words end as NLTK leaves them", () => {
    const found = Object.fromEntries(Object.keys(stems).map((word) => [word, stem(word)]));
    expect(found).toEqual(stems);
  });

  it.each(cases)("ROUGE agrees with rouge-score's use_stemmer: $predicted.0", (one) => {
    const scores = { ...scoresOf(one), rougeStemmer: true, metrics: Object.keys(one.metrics) };
    for (const { name, compute } of metricsFor(scores)) expect(compute(scores), name).toBeCloseTo(one.metrics[name]!, 6);
  });
});

it("only what was asked for is computed", () => {
  const scores = { ...scoresOf(cases[0]!), metrics: ["bleu", "rouge-l"] };
  expect(Object.keys(computeTaskMetrics(scores))).toEqual(["eval_rougeL", "eval_bleu"]);
});

it("an interval of a corpus metric resamples texts, not scores of texts", () => {
  const { predicted, actual } = cases.find(({ name }) => name === "edited 1")!;
  const right = scoresOf({ predicted: actual.map(([one]) => one!), actual });
  const { eval_bleu: interval } = bootstrapMetrics({ first: scoresOf({ predicted, actual }), second: right, resamples: 200 });
  const bleu = cases.find(({ name }) => name === "edited 1")!.metrics.bleu!;
  expect(interval!.difference).toBeCloseTo(1 - bleu, 6);
  expect(interval!.low).toBeLessThan(interval!.difference);
  expect(interval!.high).toBeGreaterThan(interval!.difference);
  // The texts are the same for both, so that a perfect second text is better in every draw.
  expect(interval!.low).toBeGreaterThan(0);
});
