/** Encoder-decoders as ONNX files run by onnxruntime alone: the logits of transformers over padded sources, at once and token by token with a cache. */
import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { collate } from "../../src/data/batches.ts";
import { sameToken } from "../../src/data/collators.ts";
import { full } from "../../src/methods/full.ts";
import { lora } from "../../src/methods/lora/lora.ts";
import type { MethodTarget } from "../../src/methods/method.ts";
import { prefixTuning } from "../../src/methods/prefix-tuning.ts";
import { openTinyModel, reference } from "../conformance/tiny-model.ts";
import { expectClose, exportModel, int64, ort, padded, rowsOf, type Session } from "./exported.ts";

interface Reference {
  sourceIds: number[][];
  decoderInputIds: number[][];
  labels: number[][];
  logits: number[][][];
}
type Feeds = Parameters<Session["run"]>[0];

function crossEntropy(logits: readonly number[], label: number): number {
  const most = Math.max(...logits);
  return most + Math.log(logits.reduce((sum, value) => sum + Math.exp(value - most), 0)) - logits[label]!;
}

async function exported(folder: string, given?: Awaited<ReturnType<typeof openTinyModel>>) {
  const opened = given ?? (await openTinyModel({ folder, attach: full.attach }));
  const { sessions } = await exportModel(opened, folder);
  expect(Object.keys(sessions).sort()).toEqual(["decoder_model_merged", "encoder_model"]);
  return { model: opened.model, encoder: sessions.encoder_model!, decoder: sessions.decoder_model_merged! };
}
type Exported = Awaited<ReturnType<typeof exported>>;

/** What the decoder reads of the sources, before the first token. */
async function encode({ encoder, decoder, model }: Exported, sourceIds: number[][], side: "left" | "right"): Promise<Feeds> {
  const { fill, attentionMask } = padded(sourceIds, side);
  const outputs = await encoder.run({ input_ids: int64(fill(sourceIds)), attention_mask: int64(attentionMask) });
  const empty = new ort.Tensor("float32", new Float32Array(0), [sourceIds.length, model.numKeyValueHeads, 0, model.headDim]);
  const caches = decoder.inputNames.filter((name) => name.startsWith("past_key_values."));
  return {
    ...{ encoder_hidden_states: outputs.last_hidden_state!, encoder_attention_mask: int64(attentionMask) },
    ...Object.fromEntries(caches.map((name) => [name, empty])),
  };
}

/** @returns logits by row and token, and what the next step reads */
async function step({ decoder }: Exported, feeds: Feeds, inputIds: readonly (readonly number[])[]) {
  const outputs = await decoder.run({ ...feeds, input_ids: int64(inputIds) });
  const rows = rowsOf(outputs.logits!);
  const T = inputIds[0]!.length;
  const present = Object.entries(outputs).filter(([name]) => name.startsWith("present."));
  const caches = Object.fromEntries(present.map(([name, tensor]) => [name.replace("present", "past_key_values"), tensor]));
  return { logits: inputIds.map((_, b) => rows.slice(b * T, (b + 1) * T)), feeds: { ...feeds, ...caches } };
}

describe.each(readdirSync(`${reference}encoder-decoders`))("%s as ONNX", (name) => {
  const folder = `${reference}encoder-decoders/${name}`;
  const {
    sourceIds,
    decoderInputIds,
    labels,
    logits: expected,
  } = JSON.parse(readFileSync(`${folder}/reference.json`, "utf8")) as Reference;
  const targets = padded(decoderInputIds).fill(decoderInputIds);

  it("has the inputs and outputs that transformers.js feeds and reads", async () => {
    const { model, encoder, decoder } = await exported(folder);
    const caches = Array.from({ length: model.numHiddenLayers }, (_, layer) =>
      ["decoder", "encoder"].flatMap((side) => ["key", "value"].map((part) => `${layer}.${side}.${part}`)),
    ).flat();
    expect(encoder.inputNames).toEqual(["input_ids", "attention_mask"]);
    expect(encoder.outputNames).toEqual(["last_hidden_state"]);
    expect([...decoder.inputNames].sort()).toEqual(
      ["encoder_attention_mask", "encoder_hidden_states", "input_ids", ...caches.map((cache) => `past_key_values.${cache}`)].sort(),
    );
    expect([...decoder.outputNames].sort()).toEqual(["logits", ...caches.map((cache) => `present.${cache}`)].sort());
  });

  it("gives the logits of transformers, at once and token by token with a cache", async () => {
    const model = await exported(folder);
    const start = await encode(model, sourceIds, "right");
    const whole = await step(model, start, targets);
    expected.forEach((rows, b) => expectClose(whole.logits[b]!.slice(0, rows.length).flat(), rows.flat()));
    let { feeds } = await step(
      model,
      start,
      targets.map((row) => row.slice(0, 2)),
    );
    for (let t = 2; t < targets[0]!.length; t++) {
      const next = await step(
        model,
        feeds,
        targets.map((row) => [row[t]!]),
      );
      next.logits.forEach(([row], b) => expectClose(row!, whole.logits[b]![t]!));
      feeds = next.feeds;
    }
  });

  it("looks past padding on the left of a source", async () => {
    const model = await exported(folder);
    const { logits } = await step(model, await encode(model, sourceIds, "left"), targets);
    expected.forEach((rows, b) => expectClose(logits[b]!.slice(0, rows.length).flat(), rows.flat()));
  });

  it("folds LoRA into both files", async () => {
    const attach = (target: MethodTarget) => lora.attach(target, lora.configSchema.parse({ name: "lora", targetModules: "all-linear" }));
    const opened = await openTinyModel({ folder, attach });
    const pairs = labels.map((of, b) => [
      {
        ...{ inputIds: Int32Array.from(decoderInputIds[b]!), labels: Int32Array.from(of) },
        encoderInputIds: Int32Array.from(sourceIds[b]!),
      },
    ]);
    const batch = collate(pairs, sameToken);
    for (let seed = 1; seed <= 3; seed++) {
      await opened.engine.accumulate(batch, { gradientScale: 0.1, seed });
      await opened.engine.update({ learningRate: 0.05, step: seed, gradientScale: 1 });
    }
    const model = await exported(folder, opened);
    expect([...model.encoder.inputNames, ...model.decoder.inputNames].filter((input) => /lora/.test(input))).toEqual([]);
    const { logits } = await step(model, await encode(model, sourceIds, "right"), targets);
    const losses = labels.flatMap((of, b) => of.map((label, t) => crossEntropy(logits[b]![t]!, label)));
    const { lossSum } = await opened.engine.evaluate(batch);
    expect(losses.reduce((sum, loss) => sum + loss, 0)).toBeCloseTo(lossSum, 3);
  });

  it("refuses virtual tokens", async () => {
    const attach = (target: MethodTarget) => prefixTuning.attach(target, prefixTuning.configSchema.parse({ name: "prefix-tuning" }));
    const opened = await openTinyModel({ folder, attach });
    await expect(exported(folder, opened)).rejects.toThrow(/virtual tokens.*--format peft/);
  });
});
