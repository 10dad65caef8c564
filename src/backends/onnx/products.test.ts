import { describe, expect, it } from "vitest";
import { Graph } from "../../tensor/graph.ts";
import { dim, type Shape } from "../../tensor/shape.ts";
import { Emitter } from "./emitter.ts";
import { emitProduct } from "./products.ts";

/** The ONNX operations of one product. */
function operations(device: "cpu" | "webgpu", shapes: readonly [Shape, Shape, Shape], options: object): string[] {
  const graph = new Graph();
  const emitter = new Emitter(graph);
  for (const [i, name] of ["a", "b"].entries()) graph.input(name, { dtype: "float32", shape: shapes[i]! });
  const [a, b] = [
    { name: "a", shape: shapes[0] },
    { name: "b", shape: shapes[1] },
  ];
  emitProduct(emitter, [a, b], { device, dtype: "float32", shape: shapes[2], ...options });
  return emitter.nodes.map(({ opType }) => opType);
}

describe("emitProduct", () => {
  const [B, T] = [dim("B"), dim("T")];
  it("is one kernel on the CPU", () => {
    expect(
      operations(
        "cpu",
        [
          [B, T, 4],
          [6, 4],
          [B, T, 6],
        ],
        { transposeB: true },
      ),
    ).toEqual(["FusedMatMul"]);
    expect(
      operations(
        "cpu",
        [
          [T, 4],
          [4, 6],
          [T, 6],
        ],
        {},
      ),
    ).toEqual(["MatMul"]);
  });

  it.each([
    {
      what: "two matrices",
      shapes: [
        [T, 4],
        [6, 4],
        [T, 6],
      ],
      options: { transposeB: true, alpha: 2 },
      made: ["Gemm"],
    },
    {
      what: "rows in a batch",
      shapes: [
        [B, 8, 4],
        [6, 4],
        [B, 8, 6],
      ],
      options: { transposeB: true },
      made: ["Gemm", "Reshape", "Reshape"],
    },
    {
      what: "two batches",
      shapes: [
        [B, 8, 4],
        [B, 6, 4],
        [B, 8, 6],
      ],
      options: { transposeB: true, alpha: 2 },
      made: ["MatMul", "Mul", "Transpose"],
    },
    {
      what: "a turned batch",
      shapes: [
        [B, 4, 8],
        [B, 4, 6],
        [B, 8, 6],
      ],
      options: { transposeA: true },
      made: ["MatMul", "Transpose"],
    },
  ] as const)("is made of what WebGPU has kernels for: $what", ({ shapes, options, made }) => {
    const arithmetic = operations("webgpu", shapes as never, options).filter(
      (name) => !["Shape", "Gather", "Concat", "Div"].includes(name),
    );
    expect(arithmetic.sort()).toEqual(made);
  });
});
