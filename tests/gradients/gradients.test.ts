/** Every operation's gradient against central differences. A failure prints the seed and the smallest sizes that show it. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createRandom } from "../../src/base/random.ts";
import { gradients } from "../../src/tensor/autodiff.ts";
import { Graph } from "../../src/tensor/graph.ts";
import { interpret } from "../../src/tensor/interpret.ts";
import { zeros } from "../../src/tensor/ops/index.ts";
import { ops } from "../../src/tensor/ops/registry.ts";
import { dim } from "../../src/tensor/shape.ts";
import { checkGradient, GradientCase } from "./check-gradient.ts";
import { gradientCases, roundedLike, withoutGradient, withoutRule } from "./gradient-cases.ts";

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
        { numRuns: 40 },
      );
      expect(tested, `the case has a node ${op}`).toBe(true);
    });
  });
}

it("has cases of every operation", () => {
  const covered = [
    ...Object.keys(gradientCases),
    ...Object.keys(withoutGradient),
    ...Object.keys(withoutRule),
    ...Object.keys(roundedLike),
  ];
  expect(covered.sort()).toEqual(ops.map(({ name }) => name).sort());
});

it.each(Object.entries(withoutGradient))("%s lets no gradient through", (_, build) => {
  const graph = new Graph();
  const x = graph.input("x", { dtype: "float32", shape: [2, 3] });
  const value = build(x);
  expect(gradients({ graph, outputs: [{ value, gradient: zeros(graph, value.shape) }], wrt: [x] })).toEqual([undefined]);
});

it.each(Object.entries(roundedLike))("%s has the gradient of what it rounds, to 8 bits", (_, build) => {
  const graph = new Graph();
  const x = graph.input("x", { dtype: "float32", shape: [2, 3] });
  const seed = graph.input("seed", { dtype: "float32", shape: [2, 4] });
  for (const [name, value] of Object.entries(build(x))) {
    graph.output(name, value);
    graph.output(`${name} gradient`, gradients({ graph, outputs: [{ value, gradient: seed }], wrt: [x] })[0]!);
  }
  const random = createRandom(5);
  const draw = (shape: number[], scale: number, step = 0) => ({
    shape,
    data: Float64Array.from({ length: shape[0]! * shape[1]! }, () => scale * (2 * random.next() - 1)).map((value) =>
      step ? Math.round(value) : value,
    ),
  });
  const results = interpret(graph, { x: draw([2, 3], 2), seed: draw([2, 4], 1), codes: draw([4, 3], 127, 1) });
  for (const name of ["", " gradient"]) {
    const [rounded, exact] = [results[`value${name}`]!.data, results[`exact${name}`]!.data];
    const largest = Math.max(...exact.map(Math.abs));
    exact.forEach((value, i) => expect(Math.abs(rounded[i]! - value)).toBeLessThan(0.01 * largest));
    if (name === "") expect([...rounded]).not.toEqual([...exact]);
  }
});

it.each(Object.entries(withoutRule))("%s has no rule, and the error names it", (op, build) => {
  const graph = new Graph();
  const x = graph.input("x", { dtype: "float32", shape: [2, 3] });
  const value = build(x);
  expect(() => gradients({ graph, outputs: [{ value, gradient: zeros(graph, value.shape) }], wrt: [x] })).toThrow(
    `${op} has no gradient rule`,
  );
});
