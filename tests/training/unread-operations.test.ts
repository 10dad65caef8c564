/** An operation that nothing reads runs all the same, and is memory that --dry-run counts. */
import { expect, it } from "vitest";
import type { Backend } from "../../src/backends/backend.ts";
import type { QuantizationConfig } from "../../src/execution/weights/quantised-base.ts";
import { createDecoder } from "../../src/generation/decoder.ts";
import { lora } from "../../src/methods/lora/lora.ts";
import { int8 } from "../../src/models/quantisation/int8.ts";
import { nf4 } from "../../src/models/quantisation/nf4.ts";
import type { Graph } from "../../src/tensor/graph.ts";
import { backend, batchOf, openTinyModel, reference } from "../conformance/tiny-model.ts";

const bases: Readonly<Record<string, QuantizationConfig | undefined>> = {
  "float32 weights": undefined,
  "4 bits": nf4.configSchema.parse({ format: "nf4" }),
  "8 bits": int8.configSchema.parse({ format: "int8" }),
  "8 bits that are multiplied": int8.configSchema.parse({ format: "int8", compute: "int8", embeddings: "int8" }),
};

it.each(Object.keys(bases))("no graph holds operations that nothing reads: %s", async (base) => {
  const graphs = new Map<string, Graph>();
  const on: Backend = {
    ...backend,
    compile(graph, options) {
      graphs.set(options!.name!, graph);
      return backend.compile(graph, options);
    },
  };
  const { engine, ...loaded } = await openTinyModel({
    ...{ on, folder: `${reference}families/llama` },
    ...(bases[base] && { quantization: bases[base] }),
    attach: (target) => lora.attach(target, lora.configSchema.parse({ name: "lora", rank: 2 })),
  });
  const batch = batchOf([[5, 9, 2, 14, 7, 3, 21, 8]]);
  await engine.accumulate(batch, { gradientScale: 1, seed: 1 });
  await engine.evaluate(batch);
  await createDecoder({ backend: on, ...loaded });
  await createDecoder({ backend: on, ...loaded, weights: "packed" });
  expect(graphs.size).toBeGreaterThan(8);
  for (const [name, { nodes, outputs }] of graphs) {
    const read = new Set([...outputs.values(), ...nodes.flatMap(({ inputs }) => inputs)]);
    const unread = nodes.filter((node) => !node.outputs.some((output) => read.has(output)));
    expect([name, unread.map(({ op }) => op.name)]).toEqual([name, []]);
  }
});
