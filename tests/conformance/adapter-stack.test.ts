/** Several adapters on one base: a batch whose rows use different ones, against PEFT's forward with adapter_names; and one after another in a decoder. */
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import type { HostTensor } from "../../src/backends/backend.ts";
import { createOnnxBackend } from "../../src/backends/onnx/backend.ts";
import { createRandom } from "../../src/base/random.ts";
import { BatchContexts, int64 } from "../../src/execution/batch-context.ts";
import { readAdapter } from "../../src/execution/weights/adapter-files.ts";
import { stackAdapters } from "../../src/execution/weights/adapter-stack.ts";
import { weightsOf } from "../../src/execution/weights/checkpoint-weights.ts";
import { loadParameters, storageIn } from "../../src/execution/weights/parameter-store.ts";
import { createDecoder } from "../../src/generation/decoder.ts";
import { createModel } from "../../src/models/families/registry.ts";
import { buildBlock, buildEmbedding, buildHead, describeModel, type Segment } from "../../src/models/segments.ts";
import { openCheckpoint } from "../../src/models/weights/checkpoint.ts";
import { openFolder } from "../../src/platform/node/files.ts";
import { loadOnnxRuntime } from "../../src/platform/node/onnxruntime.ts";
import { matmul } from "../../src/tensor/ops/index.ts";
import { oneRow } from "../one-row.ts";
import { expectSummary, type Summary } from "./expect-summary.ts";
import { reference } from "./tiny-model.ts";

const expected = JSON.parse(readFileSync(`${reference}merging/mixed-batch.json`, "utf8")) as {
  base: string;
  adapters: string[];
  adapterNames: string[];
  inputIds: number[][];
  logits: Summary;
  last: number[][];
};
const backend = createOnnxBackend({ runtime: await loadOnnxRuntime(), provider: "cpu" });
const idOf = (name: string): number => expected.adapters.indexOf(name) + 1; // __base__ is 0
const readFixture = (path: string) => readAdapter(openFolder(`${reference}${path}`));

async function open(adapterPaths: readonly string[]) {
  const checkpoint = await openCheckpoint(openFolder(`${reference}${expected.base}`));
  const model = createModel(checkpoint.config);
  const target = { model, ...describeModel(model) };
  const source = weightsOf(checkpoint);
  const adapters = await Promise.all(adapterPaths.map(readFixture));
  const method = await stackAdapters(target, { adapters, source });
  const store = await loadParameters({ specs: target.parameters, method, source, random: createRandom(0), storable: backend.storable });
  return { backend, model, method, store };
}
const paths = expected.adapters.map((name) => `merging/adapters/${name}`);

/** Logits [B, T, V] of a whole batch. */
async function forward({ model, method, store }: Awaited<ReturnType<typeof open>>, rows: number[][], adapterIds: number[]) {
  const [batchSize, tokens] = [rows.length, rows[0]!.length];
  const context = { model, chunks: 1, options: { hooks: [method.hooks], isTraining: false, storageOf: storageIn(store) } };
  const run = async ({ graph, parameters }: Segment, given: Record<string, HostTensor>) => {
    const weights = [...parameters].map(([local, { name }]) => [local, store.parameters.get(name)!.tensor] as const);
    const all: Record<string, HostTensor> = { ...given, ...Object.fromEntries(weights) };
    const inputs = Object.fromEntries([...graph.inputs.keys()].map((name) => [name, all[name]!]));
    return (await backend.compile(graph)).run(inputs);
  };
  const positionIds = Int32Array.from(rows.flatMap((row) => row.map((_, t) => t)));
  const documentIds = Int32Array.from(rows.flatMap((row, b) => row.map(() => b)));
  const blockContext = await new BatchContexts(model, backend.compile).create({ batchSize, tokens, documentIds, positionIds }, 1);
  const dims = [batchSize, tokens];
  const embedded = await run(buildEmbedding(context), {
    inputIds: int64(Int32Array.from(rows.flat()), dims),
    positionIds: int64(positionIds, dims),
  });
  let hidden = embedded.hidden!;
  for (let layer = 0; layer < model.numHiddenLayers; layer++) {
    const ids = int64(Int32Array.from(adapterIds), [batchSize]);
    hidden = (await run(buildBlock(context, { layer }), { ...blockContext(layer), adapterIds: ids, hidden })).hidden!;
  }
  const head = buildHead(context, ({ features, vocabulary }, build) =>
    build.graph.output("logits", matmul(features, build.parameter(vocabulary), { transposeB: true })),
  );
  const { logits } = await run(head, { rows: { ...hidden, dims: [batchSize * tokens, model.hiddenSize] } });
  return logits!.data as Float32Array;
}

describe("a batch that mixes adapters", () => {
  it("equals PEFT's forward with adapter_names", async () => {
    const logits = await forward(await open(paths), expected.inputIds, expected.adapterNames.map(idOf));
    expectSummary("logits", logits, expected.logits, 1e-5);
    const [T, V] = [expected.inputIds[0]!.length, expected.last[0]!.length];
    expected.last.forEach((row, b) =>
      row.forEach((value, v) => expect(Math.abs(logits[((b + 1) * T - 1) * V + v]! - value), `row ${b}`).toBeLessThan(2e-5)),
    );
  });

  it("switches between sequences in a decoder", async () => {
    const decoder = await createDecoder(await open(paths));
    for (const [b, ids] of expected.inputIds.entries()) {
      const read = oneRow(decoder, { adapterId: idOf(expected.adapterNames[b]!) });
      await read(ids.slice(0, 3));
      const logits = await read(ids.slice(3));
      expected.last[b]!.forEach((value, v) => expect(Math.abs(logits[v]! - value)).toBeLessThan(2e-5));
    }
  });

  it("refuses what cannot stand beside others", async () => {
    await expect(open([...paths, "lora/llama-modules-to-save/adapter"])).rejects.toThrow(
      /llama-modules-to-save.*trains lm_head\.weight whole \(modules_to_save\), so it cannot be loaded beside other adapters/,
    );
    await expect(open(["lora/gpt2/adapter"])).rejects.toThrow(/method\.targetModules: "c_attn" matches no linear layer/);
  });
});
