/** Finds out whether a backend computes in float16, by multiplying on it. */
import { Graph } from "../tensor/graph.ts";
import { cast, matmul } from "../tensor/ops/index.ts";
import type { Backend } from "./backend.ts";

/** @returns why it does not, in one line; undefined where it does */
export async function whyNoFloat16(backend: Backend): Promise<string | undefined> {
  if (!backend.computesFloat16) return "it computes in float32 alone";
  const graph = new Graph();
  const x = cast(graph.input("x", { dtype: "float32", shape: [1, 1] }), "float16");
  graph.output("y", cast(matmul(x, x), "float32"));
  try {
    const executable = await backend.compile(graph, { name: "trial of float16" });
    const { y } = await executable.run({ x: { dtype: "float32", dims: [1, 1], data: Float32Array.of(3) } });
    await executable.dispose();
    return y?.data[0] === 9 ? undefined : `it computed 3 x 3 = ${y?.data[0]}`;
  } catch (error) {
    return (error as Error).message.trim().split("\n")[0]!;
  }
}
