/** Metrics of tasks against scikit-learn, scipy, seqeval and SQuAD's rules. */
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { entitiesOf } from "../../src/evaluation/task-metrics/entities.ts";
import { rankOf } from "../../src/evaluation/task-metrics/ranks.ts";
import { metricsFor } from "../../src/evaluation/task-metrics/registry.ts";
import type { Scores } from "../../src/evaluation/task-metrics/task-metric.ts";
import { reference } from "./tiny-model.ts";

interface MetricCase {
  kind: Scores["kind"];
  labels?: number;
  predicted?: unknown[];
  actual?: unknown[];
  similarities?: number[][];
  metrics: Record<string, number>;
}
const { cases } = JSON.parse(readFileSync(`${reference}task-metrics/metrics.json`, "utf8")) as { cases: MetricCase[] };

function scoresOf({ kind, labels = 0, predicted = [], actual, similarities }: MetricCase): Scores {
  const read = (value: unknown): unknown => (kind === "label-sets" ? (value as number[]).map(Boolean) : value);
  const items = similarities
    ? similarities.map((row, i) => ({ rank: rankOf(row, i) }))
    : predicted.map((value, i) => ({ predicted: read(value), actual: read(actual![i]) }));
  return { kind, items, labels: Array.from({ length: labels }, (_, i) => `label ${i}`) } as unknown as Scores;
}

describe("metrics agree with the reference implementations", () => {
  it.each(cases.map((one, i) => [`${i} ${one.kind}`, one] as const))("case %s", (_, one) => {
    const scores = scoresOf(one);
    const computed = Object.fromEntries(metricsFor(scores).map((metric) => [metric.name, metric.compute(scores)]));
    expect(Object.keys(computed).sort()).toEqual(Object.keys(one.metrics).sort());
    for (const [name, value] of Object.entries(one.metrics)) expect(Math.abs(computed[name]! - value), name).toBeLessThan(1e-6);
  });
});

it("an I- tag that continues nothing opens an entity of its own, and a change of kind ends one", () => {
  expect([...entitiesOf(["I-PER", "I-LOC", "O", "B-LOC", "B-LOC", "I-LOC"])]).toEqual(["PER 0 0", "LOC 1 1", "LOC 3 3", "LOC 4 5"]);
});

it("a model that finds everything equally near gains nothing", () => expect(rankOf([0.5, 0.5, 0.5], 0)).toBe(3));
