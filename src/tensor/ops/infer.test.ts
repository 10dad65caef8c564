/** What the shape rules accept and refuse. The numbers are tested in ../interpret.test.ts, the gradients in tests/gradients. */
import { expect, it, test } from "vitest";
import type { DType } from "../dtype.ts";
import { Graph, type Value } from "../graph.ts";
import { addDims, dim, multiplyDims, type Shape, showShape } from "../shape.ts";
import * as f from "./index.ts";
import { ops } from "./registry.ts";

const [n, m] = [dim("n"), dim("m")];

class Inputs {
  readonly graph = new Graph();
  make = (shape: Shape, dtype: DType = "float32"): Value => this.graph.input(`x${this.graph.inputs.size}`, { dtype, shape });
}
type Build = (x: Inputs["make"]) => Value;

test.each<[string, Build, string]>([
  ["named batches of matmul", (x) => f.matmul(x([n, 1, m, 4]), x([3, 4, 5])), "float32[n, 3, m, 5]"],
  ["reduceSum", (x) => f.reduceSum(x([n, m, 3]), [-1, 0], { keepDims: true }), "float32[1, m, 1]"],
  ["no axes", (x) => f.reduceSum(x([n]), []), "float32[n]"],
  ["gather", (x) => f.gather(x([9, 4], "bfloat16"), x([n, m], "int64")), "bfloat16[n, m, 4]"],
  ["scatterAddRows", (x) => f.scatterAddRows(x([n, m], "int64"), x([n, m, 4]), 9), "float32[9, 4]"],
  ["concat", (x) => f.concat([x([n, 2]), x([m, 2]), x([1, 2])], 0), "float32[1+m+n, 2]"],
  ["slice", (x) => f.slice(x([addDims(n, m), 2]), 0, { start: n, size: m }), "float32[m, 2]"],
  ["slice to the end", (x) => f.slice(x([5]), -1, { start: 2, size: 3 }), "float32[3]"],
  ["reshape", (x) => f.reshape(x([n, m, 4]), [multiplyDims(n, m, 2), 2]), "float32[2*m*n, 2]"],
  ["comparison", (x) => f.equal(x([n, 1], "int64"), x([m], "int64")), "bool[n, m]"],
  ["logSumExp", (x) => f.logSumExp(x([n, 7])), "float32[n]"],
  [
    "rotaryEmbedding",
    (x) => f.rotaryEmbedding(x([n, m, 24]), x([n, m], "int64"), x([9, 4]), x([9, 4]), { numHeads: 3 }),
    "float32[n, m, 24]",
  ],
])("%s: shape", (_, build, expected) => {
  const { dtype, shape } = build(new Inputs().make);
  expect(`${dtype}${showShape(shape)}`).toBe(expected);
});

test.each<[string, Build, string]>([
  ["broadcasting", (x) => f.add(x([2, 3]), x([4])), "add: shapes [2, 3] and [4] do not broadcast: 3 against 4"],
  ["element types", (x) => f.add(x([2]), x([2], "int64")), "add: element types differ: left float32[2], right int64[2]. Cast one operand."],
  ["integers", (x) => f.exp(x([2], "int64")), "exp: expected float32, got int64[2]"],
  ["a named size against a number", (x) => f.add(x([n]), x([2])), "n against 2"],
  [
    "inner dimensions",
    (x) => f.matmul(x([4, 128]), x([64, 32])),
    "matmul: inner dimensions differ: left [4, 128], right [64, 32] (128 vs 64)",
  ],
  ["a vector in matmul", (x) => f.matmul(x([4]), x([4, 2])), "matmul: expected rank 2 or more, got left [4], right [4, 2]"],
  ["an axis", (x) => f.reduceSum(x([2, 3]), [2]), "axis 2 is out of range for a tensor of rank 2; expected -2 to 1"],
  ["a scalar has no rows", (x) => f.softmax(x([])), "softmax: expected rank 1 or more, got a scalar"],
  ["a scalar has no rows for logSumExp", (x) => f.logSumExp(x([])), "logSumExp: expected rank 1 or more, got a scalar"],
  [
    "the weight of a norm",
    (x) => f.rmsNorm(x([2, 4]), x([3]), { epsilon: 1e-6 }),
    "rmsNorm: expected weight [4] for rows of [2, 4], got [3]",
  ],
  [
    "the bias of a norm",
    (x) => f.layerNorm(x([2, 4]), x([4]), x([5]), { epsilon: 1e-6 }),
    "layerNorm: expected bias [4] for rows of [2, 4], got [5]",
  ],
  ["a size of a reshape", (x) => f.reshape(x([n, 2]), [n, 3]), "reshape: [n, 2] and [n, 3] differ in size (2*n vs 3*n)"],
  ["an order", (x) => f.transpose(x([2, 3]), [1, 1]), "transpose: [1,1] is not an order of the 2 dimensions"],
  ["parts of concat", (x) => f.concat([x([2, 3]), x([2, 4])], 0), "concat along axis 0: float32[2, 4] does not fit beside float32[2, 3]"],
  ["sizes of split", (x) => f.split(x([5]), 0, [2, 2])[0]!, "split: sizes [2, 2] do not add up to 5, axis 0 of [5]"],
  ["one size of split", (x) => f.split(x([5]), 0, [3])[0]!, "split: sizes [3] do not add up to 5, axis 0 of [5]"],
  ["a slice beyond the end", (x) => f.slice(x([4]), 0, { start: 3, size: 3 }), "slice: 3 elements from 3 are not inside 4, axis 0 of [4]"],
  ["a slice of more than everything", (x) => f.slice(x([4]), 0, { start: 0, size: 9 }), "slice: 9 elements from 0 are not inside 4"],
  ["a negative start", (x) => f.slice(x([4]), 0, { start: -1, size: 2 }), "slice: 2 elements from -1 are not inside 4"],
  ["broadcastTo", (x) => f.broadcastTo(x([2, 3]), [3]), "broadcastTo: [2, 3] does not broadcast to [3]"],
  ["indices of gather", (x) => f.gather(x([4, 2]), x([3])), "gather: indices are float32; expected int64"],
  ["a scalar table", (x) => f.gather(x([]), x([3], "int64")), "gather: expected a table of rank 1 or more, got a scalar"],
  ["indices of scatterAddRows", (x) => f.scatterAddRows(x([3]), x([3, 2]), 4), "scatterAddRows: indices are float32; expected int64"],
  ["updates", (x) => f.scatterAddRows(x([3], "int64"), x([2, 3]), 4), "updates [2, 3] do not start with the shape of the indices [3]"],
  ["the condition of where", (x) => f.where(x([2]), x([2]), x([2])), "where: the condition is float32; expected bool"],
  ["numbers in logic", (x) => f.logicalAnd(x([2]), x([2])), "logicalAnd: expected bool operands, got float32"],
  [
    "a head size",
    (x) => f.rotaryEmbedding(x([1, 2, 6]), x([1, 2], "int64"), x([9, 4]), x([9, 4]), { numHeads: 1 }),
    "rotaryEmbedding: expected x [B, T, 1 * D] with D at least 2 * half",
  ],
  [
    "positions of another shape",
    (x) => f.rotaryEmbedding(x([1, 2, 8]), x([2, 1], "int64"), x([9, 4]), x([9, 4]), { numHeads: 1 }),
    "rotaryEmbedding: expected positionIds int64[1, 2], got int64[2, 1]",
  ],
  [
    "positions that are not integers",
    (x) => f.rotaryEmbedding(x([1, 2, 8]), x([1, 2]), x([9, 4]), x([9, 4]), { numHeads: 1 }),
    "rotaryEmbedding: expected positionIds int64[1, 2], got float32[1, 2]",
  ],
])("%s: refused", (_, build, message) => expect(() => build(new Inputs().make)).toThrow(message));

it("refuses operands of two graphs", () => {
  const [a, b] = [new Inputs().make([2]), new Inputs().make([2])];
  expect(() => f.add(a, b)).toThrow("add: an operand belongs to another graph");
});

it("adds no node for what changes nothing", () => {
  const inputs = new Inputs();
  const x = inputs.make([n, 3]);
  expect([
    f.reshape(x, [n, 3]),
    f.transpose(x, [0, 1]),
    f.broadcastTo(x, [n, 3]),
    f.cast(x, "float32"),
    f.concat([x], 0),
    f.slice(x, 0, { start: 0, size: n }),
  ]).toEqual(new Array(6).fill(x));
  expect(inputs.graph.nodes).toHaveLength(0);
});

it("lists every operation once", () => expect(new Set(ops.map(({ name }) => name)).size).toBe(ops.length));
