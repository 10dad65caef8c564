import { describe, expect, it } from "vitest";
import { Graph, type ReferenceArray, type Value } from "../graph.ts";
import { interpret } from "../interpret.ts";
import * as f from "../ops/index.ts";
import { extract } from "./extract.ts";
import { scaleRowsLate } from "./scale-rows-late.ts";
import { verifyGraph } from "./verify.ts";

const filled = (...shape: number[]): ReferenceArray => ({
  shape,
  data: Float64Array.from({ length: shape.reduce((a, b) => a * b) }, (_, i) => Math.sin(i + 1)),
});
const inputs = { p: filled(3, 7), s: filled(3, 1), w: filled(7, 2), turned: filled(2, 7), h: filled(3, 2) };
type Operands = Readonly<Record<keyof typeof inputs, Value>>;

/** The graph, and what is left of it after the pass. */
function passed(build: (operands: Operands) => Readonly<Record<string, Value>>): { before: Graph; after: Graph } {
  const before = new Graph();
  const operands = Object.fromEntries(
    Object.entries(inputs).map(([name, { shape }]) => [name, before.input(name, { dtype: "float32", shape })]),
  );
  for (const [name, value] of Object.entries(build(operands as Operands))) before.output(name, value);
  const late = scaleRowsLate(before);
  return { before, after: verifyGraph(extract({ graph: late, inputs: new Map(), outputs: late.outputs })) };
}

const scalesWideRows = ({ nodes }: Graph): boolean =>
  nodes.some(({ op, outputs: [result] }) => op.name === "mul" && String(result!.shape) === "3,7");

describe("scaleRowsLate", () => {
  it("scales behind a product and in the other operand of a turned one, with the same values", () => {
    const { before, after } = passed(({ p, s, w, turned, h }) => {
      const scaled = f.mul(p, s);
      return {
        behind: f.matmul(scaled, w, { alpha: 2 }),
        turned: f.matmul(scaled, turned, { transposeB: true }),
        other: f.matmul(scaled, h, { transposeA: true }),
      };
    });
    expect([scalesWideRows(before), scalesWideRows(after)]).toEqual([true, false]);
    const [expected, found] = [interpret(before, inputs), interpret(after, inputs)];
    for (const [name, { shape, data }] of Object.entries(expected)) {
      expect(found[name]!.shape, name).toEqual(shape);
      for (const [i, value] of data.entries()) expect(found[name]!.data[i], name).toBeCloseTo(value, 12);
    }
  });

  it.each<[string, (operands: Operands) => Readonly<Record<string, Value>>]>([
    [
      "a result of the graph",
      ({ p, s, w }) => {
        const scaled = f.mul(p, s);
        return { scaled, product: f.matmul(scaled, w) };
      },
    ],
    [
      "read by something else",
      ({ p, s, w }) => {
        const scaled = f.mul(p, s);
        return { product: f.matmul(scaled, w), sum: f.reduceSum(scaled, [0]) };
      },
    ],
    ["the right operand", ({ p, s, h }) => ({ product: f.matmul(h, f.mul(p, s), { transposeA: true }) })],
  ])("leaves rows that are %s", (_, build) => {
    const { before, after } = passed(build);
    expect(scalesWideRows(after)).toBe(true);
    expect(interpret(after, inputs)).toEqual(interpret(before, inputs));
  });

  it("leaves rows that are narrower than the result", () => {
    const { before, after } = passed(({ h, s, turned }) => ({ product: f.matmul(f.mul(h, s), turned) }));
    expect(after.nodes).toHaveLength(before.nodes.length);
    expect(after.nodes[0]!.op.name).toBe("mul");
  });
});
