/** Finds out whether a backend multiplies 8-bit integers exactly, by letting it add up the largest products. */
import { Graph } from "../tensor/graph.ts";
import { matmulInt8 } from "../tensor/ops/index.ts";
import { largestInt8 } from "../tensor/ops/matmul-int8.ts";
import type { Backend } from "./backend.ts";

/**
 * Processors without an instruction for it (VNNI on x86) add two products up in 16 bits, where the largest do not fit.
 * @returns what it computed, in one line; undefined where that is right
 */
export async function whyNoInt8(backend: Backend): Promise<string | undefined> {
  const inner = 64;
  const graph = new Graph();
  const x = graph.input("x", { dtype: "float32", shape: [1, inner] });
  graph.output("y", matmulInt8(x, graph.input("codes", { dtype: "int8", shape: [inner, 1] })));
  const executable = await backend.compile(graph, { name: "trial of 8-bit products" });
  const { y } = await executable.run({
    x: { dtype: "float32", dims: [1, inner], data: new Float32Array(inner).fill(1) },
    codes: { dtype: "int8", dims: [inner, 1], data: new Int8Array(inner).fill(largestInt8) },
  });
  await executable.dispose();
  const [expected, computed] = [inner * largestInt8, Number(y!.data[0])];
  return Math.abs(computed / expected - 1) < 1e-5 ? undefined : `it computed ${inner} x 1 x ${largestInt8} = ${computed}`;
}
