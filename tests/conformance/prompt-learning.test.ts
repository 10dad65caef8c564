/** Prompt tuning, P-tuning and prefix tuning against PEFT: a training curve, what is saved, what is read back, generation, packing. */
import { existsSync, readdirSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { encodeAdapter } from "../../src/execution/weights/adapter-files.ts";
import { createDecoder } from "../../src/generation/decoder.ts";
import { sampleToken } from "../../src/generation/sampling/sample-token.ts";
import type { Method } from "../../src/methods/method.ts";
import { prefixTuning } from "../../src/methods/prefix-tuning.ts";
import { promptTuning } from "../../src/methods/prompt-tuning.ts";
import { methods } from "../../src/methods/registry.ts";
import { toFloat32 } from "../../src/models/weights/element-types.ts";
import { openSafetensors, readTensor } from "../../src/models/weights/safetensors.ts";
import { openFolder } from "../../src/platform/node/files.ts";
import { oneRow } from "../one-row.ts";
import { expectSummary, type Summary } from "./expect-summary.ts";
import { type CurveReference, expectCurve, openPeftCase, parameterOf, readReference } from "./peft-case.ts";
import { backend, batchOf, openTinyModel, packedBatch, reference } from "./tiny-model.ts";

interface PromptReference extends CurveReference {
  readonly method: { readonly name: string; readonly numVirtualTokens: number };
  readonly saved: Summary;
  readonly generated: number[];
}
type Opened = Awaited<ReturnType<typeof openTinyModel>>;

const cases = ["prompt-tuning", "p-tuning", "prefix-tuning"]
  .filter((area) => existsSync(`${reference}${area}`))
  .flatMap((area) => readdirSync(`${reference}${area}`).map((name) => `${area}/${name}`));

/** Our parameters for a tensor of PEFT's: whole, or in pieces of its rows or columns, one for each layer. */
function placesOf(name: string, { method, store, model }: Opened): { names: string[]; by: "whole" | "rows" | "columns" } {
  if (store.parameters.has(name)) return { names: [name], by: "whole" };
  if (name === "prompt_encoder.embedding.weight" && method.virtualTokens?.as === "embeddings")
    return { names: ["prompt_embeddings"], by: "whole" };
  const layers = Array.from({ length: model.numHiddenLayers }, (_, layer) => model.blockPrefix(layer));
  if (name === "prompt_encoder.embedding.weight") return { names: layers.map((prefix) => `${prefix}prompt_embeddings`), by: "columns" };
  return { names: layers.map((prefix) => `${prefix}${name.replace("prompt_encoder.transform.2", "prefix_transform")}`), by: "rows" };
}

/** Pieces put side by side: [rows, columns of all]. */
function joinColumns(pieces: readonly Float32Array[], rows: number): Float32Array {
  const width = pieces[0]!.length / rows;
  const joined = new Float32Array(rows * width * pieces.length);
  pieces.forEach((piece, i) => {
    for (let r = 0; r < rows; r++) joined.set(piece.subarray(r * width, (r + 1) * width), (r * pieces.length + i) * width);
  });
  return joined;
}

async function openInitial(folder: string, expected: PromptReference): Promise<Opened> {
  const method = (methods as readonly Method[]).find(({ name }) => name === expected.method.name)!;
  const opened = await openTinyModel({
    folder: `${reference}${expected.base}`,
    attach: (target) => method.attach(target, method.configSchema.parse(expected.method)),
    optimizer: expected.optimizer,
  });
  const file = await openSafetensors(await openFolder(folder).open("initial.safetensors"));
  for (const [name, entry] of file.tensors) {
    const values = toFloat32({ name, dtype: entry.dtype, bytes: await readTensor(file, entry) });
    const { names, by } = placesOf(name, opened);
    const size = values.length / names.length;
    const rows = expected.method.numVirtualTokens;
    names.forEach((ours, i) => {
      const piece = by === "columns" ? columns(values, { rows, parts: names.length, part: i }) : values.subarray(i * size, (i + 1) * size);
      (opened.store.parameters.get(ours)!.tensor.data as Float32Array).set(piece);
    });
  }
  return opened;
}

function columns(values: Float32Array, { rows, parts, part }: { rows: number; parts: number; part: number }): Float32Array {
  const width = values.length / rows / parts;
  const piece = new Float32Array(rows * width);
  for (let r = 0; r < rows; r++) piece.set(values.subarray((r * parts + part) * width, (r * parts + part + 1) * width), r * width);
  return piece;
}

const meanLoss = async ({ engine }: Opened, batch: ReturnType<typeof batchOf>): Promise<number> => {
  const { lossSum, tokens } = await engine.evaluate(batch);
  return lossSum / tokens;
};

describe("virtual tokens", () => {
  const open = (
    config: { readonly name: string; readonly [option: string]: unknown },
    activationCheckpointing: "none" | "block" = "none",
  ) => {
    const method = (methods as readonly Method[]).find(({ name }) => name === config.name)!;
    return openTinyModel({
      folder: `${reference}families/llama`,
      attach: (target) => method.attach(target, method.configSchema.parse(config)),
      activationCheckpointing,
    });
  };
  const batch = batchOf([[1, 2, 3, 4, 5, 6, 7, 8]]);
  const accumulate = async ({ engine }: Opened, seed: number) => (await engine.accumulate(batch, { gradientScale: 1, seed })).lossSum;

  it.each(["prompt-tuning", "p-tuning", "prefix-tuning"])("%s: refuses more than the context holds", async (name) => {
    await expect(open({ name, numVirtualTokens: 64 })).rejects.toThrow(
      /method.numVirtualTokens: 64 virtual tokens leave no room in the model's 64 positions/,
    );
  });

  it.each(["p-tuning", "prefix-tuning"])("%s: the same gradients with activation checkpointing", async (name) => {
    const config = { name, numVirtualTokens: 4, ...(name === "prefix-tuning" && { prefixProjection: true }) };
    const [plain, recomputed] = [await open(config), await open(config, "block")];
    expect(await accumulate(plain, 0)).toBe(await accumulate(recomputed, 0));
    for (const { name: own } of plain.method.added)
      parameterOf(plain)(own, "gradient").forEach((value, i) =>
        expect(Math.abs(value - parameterOf(recomputed)(own, "gradient")[i]!)).toBeLessThan(1e-6),
      );
  });

  it("p-tuning drops out between the layers of its LSTM, in training only", async () => {
    const opened = await open({ name: "p-tuning", encoderReparameterizationType: "LSTM", encoderHiddenSize: 8, encoderDropout: 0.5 });
    expect(await accumulate(opened, 1)).not.toBe(await accumulate(opened, 2));
    expect(await accumulate(opened, 1)).toBe(await accumulate(opened, 1));
    expect(await meanLoss(opened, batch)).toBe(await meanLoss(opened, batch));
  });

  it("a prefix of an encoder-decoder that no layer would get in PEFT is refused", () => {
    const config = { task_type: "SEQ_2_SEQ_LM", num_virtual_tokens: 3, num_transformer_submodules: 1 };
    expect(() => prefixTuning.fromPeft(config)).toThrow(/num_transformer_submodules 1 for SEQ_2_SEQ_LM; expected 2/);
  });

  it("prompt tuning starts as words, as a text, or as noise", async () => {
    const start = async (config: object, encode: (text: string) => number[] = () => []) => {
      const { store } = await openTinyModel({
        folder: `${reference}families/llama`,
        attach: (target) =>
          promptTuning.attach(
            { ...target, tokenizer: { encode, idOf: () => undefined } },
            promptTuning.configSchema.parse({ name: "prompt-tuning", numVirtualTokens: 5, ...config }),
          ),
      });
      const rowsOf = (name: string, row: number): string =>
        (store.parameters.get(name)!.tensor.data as Float32Array).slice(row * 32, (row + 1) * 32).join();
      const words = Array.from({ length: 97 }, (_, id) => rowsOf("model.embed_tokens.weight", id));
      return Array.from({ length: 5 }, (_, i) => words.indexOf(rowsOf("prompt_embeddings", i)));
    };
    expect((await start({})).every((id) => id >= 0)).toBe(true);
    expect(new Set(await start({ promptTuningInit: "RANDOM" }))).toEqual(new Set([-1]));
    expect(await start({ promptTuningInit: "TEXT", promptTuningInitText: "ab" }, () => [7, 9])).toEqual([7, 9, 7, 9, 7]);
    expect(await start({ promptTuningInit: "TEXT", promptTuningInitText: "long" }, () => [1, 2, 3, 4, 5, 6])).toEqual([1, 2, 3, 4, 5]);
    await expect(start({ promptTuningInit: "TEXT" })).rejects.toThrow(/method.promptTuningInitText: missing/);
    await expect(start({ promptTuningInit: "TEXT", promptTuningInitText: " " })).rejects.toThrow(/gives no tokens with this tokenizer/);
  });
});

describe.each(cases)("%s", (name) => {
  const folder = `${reference}${name}`;
  const expected = readReference<PromptReference>(folder);

  it("agrees in loss, gradients and five training steps", async () => {
    const opened = await openInitial(folder, expected);
    const ours = parameterOf(opened);
    const pick = (tensor: string, part: "values" | "gradient"): Float32Array => {
      const { names, by } = placesOf(tensor, opened);
      const pieces = names.map((piece) => ours(piece, part));
      return by === "columns"
        ? joinColumns(pieces, expected.method.numVirtualTokens)
        : Float32Array.from(pieces.flatMap((piece) => [...piece]));
    };
    await expectCurve({ opened, expected, batch: batchOf(expected.inputIds), pick });
  });

  it("has gradients for its own parameters only, and PEFT's number of them", async () => {
    const opened = await openInitial(folder, expected);
    const trained = [...opened.store.parameters.values()].filter(({ gradient }) => gradient);
    const size = (shape: readonly number[]): number => shape.reduce((product, n) => product * n, 1);
    expect(trained.reduce((sum, { spec }) => sum + size(spec.shape), 0)).toBe(
      Object.values(expected.gradients).reduce((sum, { shape }) => sum + size(shape), 0),
    );
    expect(trained.every(({ spec }) => opened.method.added.some((added) => added.name === spec.name))).toBe(true);
  });

  it("saves what PEFT saves", async () => {
    const opened = await openInitial(folder, expected);
    const trained = [...opened.store.parameters.values()].filter(({ gradient }) => gradient);
    const tensors = new Map(
      trained.map(({ spec, tensor }) => [spec.name, { shape: spec.shape, data: tensor.data as Float32Array }] as const),
    );
    const { pack } = opened.method.adapter!;
    const saved = pack ? pack(tensors) : tensors;
    expect([...saved.keys()]).toEqual(["prompt_embeddings"]);
    expectSummary("prompt_embeddings", saved.get("prompt_embeddings")!.data, expected.saved, 1e-5);
    expect(saved.get("prompt_embeddings")!.shape).toEqual(expected.saved.shape);
    const theirs = await (await openFolder(`${folder}/adapter`)).readText("adapter_config.json").then((text) => JSON.parse(text));
    const written = JSON.parse(encodeAdapter({ ...opened, baseModel: theirs.base_model_name_or_path })["adapter_config.json"] as string);
    for (const key of Object.keys(written)) {
      const free = key.startsWith("prompt_tuning_init") || (key === "encoder_hidden_size" && !("encoderHiddenSize" in expected.method));
      if (!free) expect(written[key], key).toEqual(theirs[key]);
    }
  });

  it("reads PEFT's adapter to the same loss, and writes it again unchanged", async () => {
    const opened = await openPeftCase(folder);
    expect(await meanLoss(opened, batchOf(expected.inputIds))).toBeCloseTo(expected.loss, 4);
    const { fileName, pack } = opened.method.adapter!;
    const tensors = new Map(
      opened.method.added.map(({ name: own, shape }) => [
        fileName(own),
        { shape, data: opened.store.parameters.get(own)!.tensor.data as Float32Array },
      ]),
    );
    const again = (pack ? pack(tensors) : tensors).get("prompt_embeddings")!;
    expectSummary("prompt_embeddings", again.data, expected.saved, 1e-6);
  });

  it("continues as PEFT does, with the cache", async () => {
    const { model, method, store } = await openPeftCase(folder);
    const decoder = await createDecoder({ backend, model, method, store });
    expect(decoder.virtualTokens).toBe(expected.method.numVirtualTokens);
    const read = oneRow(decoder);
    let logits = await read(expected.inputIds[0]!);
    const generated: number[] = [];
    while (generated.length < expected.generated.length) {
      generated.push(sampleToken(logits, { temperature: 0, random: { next: () => 0 } }));
      logits = await read([generated.at(-1)!]);
    }
    expect(generated).toEqual(expected.generated);
  });

  it("gives documents packed into one row what they get alone, in training and in evaluation", async () => {
    const opened = await openInitial(folder, expected);
    const ids = expected.inputIds[0]!;
    const documents = [ids.slice(0, 5), ids.slice(5)];
    let alone = 0;
    for (const document of documents) alone += (await opened.engine.evaluate(batchOf([document]))).lossSum;
    const packed = packedBatch({
      inputIds: ids,
      positionIds: documents.flatMap((document) => document.map((_, t) => t)),
      documentIds: documents.flatMap((document, d) => document.map(() => d)),
      ...{ batchSize: 1, tokens: ids.length },
    });
    const together = await opened.engine.evaluate(packed);
    expect(together.lossSum).toBeCloseTo(alone, 3);
    const trained = await opened.engine.accumulate(packed, { gradientScale: 1, seed: 0 });
    expect(trained.lossSum).toBeCloseTo(together.lossSum, 4);
  });

  it("is the same in several chunks of queries as in one", async () => {
    const opened = await openInitial(folder, expected);
    // Eight documents of 32 tokens make 256 and more tokens a row, which are cut into chunks.
    const documents = Array.from({ length: 8 }, (_, d) => Array.from({ length: 32 }, (_unused, t) => (7 * d + 3 * t) % 97));
    let alone = 0;
    for (const document of documents) alone += (await opened.engine.evaluate(batchOf([document]))).lossSum;
    const packed = packedBatch({
      inputIds: documents.flat(),
      positionIds: documents.flatMap((document) => document.map((_, t) => t)),
      documentIds: documents.flatMap((document, d) => document.map(() => d)),
      ...{ batchSize: 1, tokens: 256 },
    });
    const { lossSum } = await opened.engine.accumulate(packed, { gradientScale: 1, seed: 0 });
    expect(lossSum / alone).toBeCloseTo(1, 4);
  });
});
