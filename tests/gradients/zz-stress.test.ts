/** Every operation's gradient against central differences. A failure prints the seed and the smallest sizes that show it. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { gradients } from "../../src/tensor/autodiff.ts";
import { Graph } from "../../src/tensor/graph.ts";
import { zeros } from "../../src/tensor/ops/index.ts";
import { ops } from "../../src/tensor/ops/registry.ts";
import { dim } from "../../src/tensor/shape.ts";
import { checkGradient, GradientCase } from "./check-gradient.ts";
import { gradientCases, withoutGradient, withoutRule } from "./gradient-cases.ts";

const size = fc.integer({ min: 0, max: 4 });
const draws = fc.record({ n: size, m: size, k: size, width: fc.integer({ min: 1, max: 5 }), named: fc.boolean(), seed: fc.nat() });

for (const [op, { cases, numbersOnly = false, ...options }] of Object.entries(gradientCases)) {
  describe(op, () => {
    it.each(Object.entries(cases))("%s", (_, build) => {
      let tested = false;
      fc.assert(
        fc.property(draws, ({ named, width, seed, ...bindings }) => {
          const c = new GradientCase(seed, bindings);
          const isNamed = named && !numbersOnly;
          const sizes = isNamed ? { n: dim("n"), m: dim("m"), k: dim("k") } : bindings;
          // Names are bound by inputs; a graph under test need not have one of every size.
          if (isNamed) for (const name of ["n", "m", "k"] as const) c.indices([sizes[name]], 1);
          const results = [build(c, { ...sizes, width })].flat();
          tested ||= c.graph.nodes.some((node) => node.op.name === op);
          checkGradient(c, results, options);
        }),
        { numRuns: 3000 },
      );
      expect(tested, `the case has a node ${op}`).toBe(true);
    });
  });
}

it("has cases of every operation", () => {
  const covered = [...Object.keys(gradientCases), ...Object.keys(withoutGradient), ...Object.keys(withoutRule)];
  expect(covered.sort()).toEqual(ops.map(({ name }) => name).sort());
});

it.each(Object.entries(withoutGradient))("%s lets no gradient through", (_, build) => {
  const graph = new Graph();
  const x = graph.input("x", { dtype: "float32", shape: [2, 3] });
  const value = build(x);
  expect(gradients({ graph, outputs: [{ value, gradient: zeros(graph, value.shape) }], wrt: [x] })).toEqual([undefined]);
});

it.each(Object.entries(withoutRule))("%s has no rule, and the error names it", (op, build) => {
  const graph = new Graph();
  const x = graph.input("x", { dtype: "float32", shape: [2, 3] });
  const value = build(x);
  expect(() => gradients({ graph, outputs: [{ value, gradient: zeros(graph, value.shape) }], wrt: [x] })).toThrow(
    `${op} has no gradient rule`,
  );
});
