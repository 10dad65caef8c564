import { expect, it } from "vitest";
import { Graph } from "./graph.ts";
import { peakIntermediateBytes } from "./liveness.ts";
import { add, exp, reshape } from "./ops/index.ts";
import { dim } from "./shape.ts";

it("counts values between inputs and outputs while they are needed", () => {
  const graph = new Graph();
  const x = graph.input("x", { dtype: "float32", shape: [dim("n"), 4] });
  // a and b are alive together, then b (under another shape) and c; the result lives elsewhere.
  const a = exp(x);
  const b = exp(a);
  const c = exp(reshape(b, [4, dim("n")]));
  graph.output("y", add(c, c));
  const bytes = 10 * 4 * 4;
  expect(peakIntermediateBytes({ graph, bindings: { n: 10 }, held: () => true })).toBe(2 * bytes);
  expect(peakIntermediateBytes({ graph, bindings: { n: 10 }, held: () => false })).toBe(2 * bytes);
});
