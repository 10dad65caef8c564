/** Finds out what a backend can do, by letting it. */
import { Graph } from "../tensor/graph.ts";
import { cast, matmul, matmulInt8 } from "../tensor/ops/index.ts";
import { largestInt8 } from "../tensor/ops/matmul-int8.ts";
import type { Backend, HostTensor } from "./backend.ts";

/** The graph's result `y`. @throws BackendError if the backend does not take the graph or fails */
export async function tryOut(
  backend: Backend,
  graph: Graph,
  { name, inputs }: { readonly name: string; readonly inputs: Readonly<Record<string, HostTensor>> },
): Promise<HostTensor> {
  const executable = await backend.compile(graph, { name });
  const { y } = await executable.run(inputs);
  await executable.dispose();
  return y!;
}

/** Whether it computes in float16. @returns why it does not, in one line; undefined where it does */
export async function whyNoFloat16(backend: Backend): Promise<string | undefined> {
  if (!backend.computesFloat16) return "it computes in float32 alone";
  const graph = new Graph();
  const x = cast(graph.input("x", { dtype: "float32", shape: [1, 1] }), "float16");
  graph.output("y", cast(matmul(x, x), "float32"));
  try {
    const inputs = { x: { dtype: "float32", dims: [1, 1], data: Float32Array.of(3) } } as const;
    const { data } = await tryOut(backend, graph, { name: "trial of float16", inputs });
    return data[0] === 9 ? undefined : `it computed 3 x 3 = ${data[0]}`;
  } catch (error) {
    return (error as Error).message.trim().split("\n")[0]!;
  }
}

/**
 * Whether it multiplies 8-bit integers exactly: it adds up the largest products. Processors without an instruction for it (VNNI on x86)
 * add two products up in 16 bits, where the largest do not fit.
 * @returns what it computed, in one line; undefined where that is right
 */
export async function whyNoInt8(backend: Backend): Promise<string | undefined> {
  const inner = 64;
  const graph = new Graph();
  const x = graph.input("x", { dtype: "float32", shape: [1, inner] });
  graph.output("y", matmulInt8(x, graph.input("codes", { dtype: "int8", shape: [inner, 1] })));
  const { data } = await tryOut(backend, graph, {
    name: "trial of 8-bit products",
    inputs: {
      x: { dtype: "float32", dims: [1, inner], data: new Float32Array(inner).fill(1) },
      codes: { dtype: "int8", dims: [inner, 1], data: new Int8Array(inner).fill(largestInt8) },
    },
  });
  const [expected, computed] = [inner * largestInt8, Number(data[0])];
  return Math.abs(computed / expected - 1) < 1e-5 ? undefined : `it computed ${inner} x 1 x ${largestInt8} = ${computed}`;
}
