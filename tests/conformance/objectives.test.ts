/** Cross-entropy of the next token with label smoothing against torch: value and gradient; masked labels are rows that the head never gets. */
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { SegmentBuilder } from "../../src/models/segment-builder.ts";
import { float32 } from "../../src/models/storage.ts";
import { causalLm } from "../../src/objectives/causal-lm.ts";
import { gradients } from "../../src/tensor/autodiff.ts";
import { interpret } from "../../src/tensor/interpret.ts";
import { constant } from "../../src/tensor/ops/index.ts";
import { reference } from "./tiny-model.ts";

interface Fixture {
  logits: number[][];
  labels: number[];
  cases: { labelSmoothing: number; loss: number; logitsGradient: number[][] }[];
}
const fixture = JSON.parse(readFileSync(`${reference}objectives/label-smoothing.json`, "utf8")) as Fixture;
const array = (rows: number[][]) => ({ shape: [rows.length, rows[0]!.length], data: Float64Array.from(rows.flat()) });

describe.each(fixture.cases)("label smoothing $labelSmoothing", ({ labelSmoothing, loss, logitsGradient }) => {
  it("agrees with torch in value and gradient", () => {
    const kept = [...fixture.labels.keys()].filter((i) => fixture.labels[i]! >= 0);
    const [N, V] = [kept.length, fixture.logits[0]!.length];
    const build = new SegmentBuilder({ prefix: "", hooks: [], isTraining: true, storageOf: () => float32 });
    const { graph } = build;
    const features = graph.input("logits", { dtype: "float32", shape: [N, V] });
    const { lossSum } = causalLm.build({
      // With the identity for a vocabulary matrix the features are the logits.
      head: { features, vocabulary: { name: "identity", shape: [V, V], kind: "embedding" } },
      labels: graph.input("labels", { dtype: "int64", shape: [N] }),
      weights: graph.input("weights", { dtype: "float32", shape: [N] }),
      target: (name, type) => graph.input(name, type),
      build,
      config: causalLm.configSchema.parse({ name: "causal-lm", labelSmoothing }),
    });
    const [gradient] = gradients({ graph, outputs: [{ value: lossSum, gradient: constant(graph, 1 / N) }], wrt: [features] });
    graph.output("lossSum", lossSum);
    graph.output("gradient", gradient!);
    const identity = Array.from({ length: V }, (_, i) => Array.from({ length: V }, (__, j) => Number(i === j)));
    const found = interpret(graph, {
      logits: array(kept.map((i) => fixture.logits[i]!)),
      identity: array(identity),
      labels: { shape: [N], data: Float64Array.from(kept, (i) => fixture.labels[i]!) },
      weights: { shape: [N], data: new Float64Array(N).fill(1) },
    });
    expect(Math.abs(found.lossSum!.data[0]! / N - loss)).toBeLessThan(2e-6);
    const expected = kept.flatMap((i) => logitsGradient[i]!);
    expected.forEach((value, i) => expect(Math.abs(found.gradient!.data[i]! - value)).toBeLessThan(1e-6));
  });
});
