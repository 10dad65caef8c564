/** The order in which ONNX Runtime runs the operations of a graph, read off its profile. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { InferenceSession } from "onnxruntime-common";
import { afterAll, expect, it } from "vitest";
import { createOnnxBackend } from "../../src/backends/onnx/backend.ts";
import type { OnnxRuntime } from "../../src/backends/onnx/session.ts";
import { loadOnnxRuntime } from "../../src/platform/node/onnxruntime.ts";
import { Graph } from "../../src/tensor/graph.ts";
import * as f from "../../src/tensor/ops/index.ts";
import { runOrder } from "../../src/tensor/run-order.ts";

const folder = mkdtempSync(join(tmpdir(), "tunesmith-run-order-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function orderOnCpu(graph: Graph): Promise<string[]> {
  const runtime = await loadOnnxRuntime();
  const sessions: InferenceSession[] = [];
  const watched: OnnxRuntime = {
    ...runtime,
    InferenceSession: {
      async create(model: Uint8Array, options?: InferenceSession.SessionOptions) {
        sessions.push(await runtime.InferenceSession.create(model, options));
        return sessions.at(-1)!;
      },
    },
  };
  const sessionOptions = { enableProfiling: true, profileFilePrefix: join(folder, "profile") };
  const executable = await createOnnxBackend({ runtime: watched, provider: "cpu", sessionOptions }).compile(graph);
  await executable.run({ x: { dtype: "float32", dims: [2], data: Float32Array.of(1, 2) } });
  sessions[0]!.endProfiling();
  const [file] = readdirSync(folder);
  const events = JSON.parse(readFileSync(join(folder, file!), "utf8")) as { name?: string; args?: { op_name?: string } }[];
  return events.flatMap(({ name, args }) => (name?.endsWith("kernel_time") ? [args!.op_name!.toLowerCase()] : []));
}

it("gives each result as soon as its operands are there, as runOrder says", async () => {
  // A chain that results leave on the way, as gradients of parameters leave that of the hidden state.
  const graph = new Graph();
  const first = f.exp(graph.input("x", { dtype: "float32", shape: [2] }));
  graph.output("of first", f.erf(first));
  const second = f.tanh(f.neg(first));
  graph.output("of second", f.sigmoid(second));
  graph.output("end", f.relu(f.reciprocal(second)));
  const order = ["exp", "erf", "neg", "tanh", "sigmoid", "reciprocal", "relu"];
  expect(runOrder(graph).map(({ op }) => op.name)).toEqual(order);
  expect(await orderOnCpu(graph)).toEqual(order);
});
