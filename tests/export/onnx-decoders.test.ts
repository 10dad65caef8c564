/** Exported ONNX files, run by onnxruntime alone with Optimum's inputs: the same logits as transformers, with a cache and with padding. */
import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import type { OnnxWeightType } from "../../src/export/onnx/onnx-files.ts";
import { full } from "../../src/methods/full.ts";
import { lora } from "../../src/methods/lora/lora.ts";
import type { AttachedMethod, MethodTarget } from "../../src/methods/method.ts";
import { promptTuning } from "../../src/methods/prompt-tuning.ts";
import { batchOf, openTinyModel, reference } from "../conformance/tiny-model.ts";
import { exportModel, int64, ort } from "./exported.ts";

type Opened = Awaited<ReturnType<typeof openTinyModel>>;
const open = (family: string, attach: (target: MethodTarget) => AttachedMethod = (target) => full.attach(target)): Promise<Opened> =>
  openTinyModel({ folder: `${reference}families/${family}`, attach });

async function exported(family: string, opened: Opened, weightType: OnnxWeightType = "float32") {
  const { sessions, files } = await exportModel(opened, `${reference}families/${family}`, { weightType });
  const config = JSON.parse(files["config.json"] as string) as { original_max_position_embeddings?: number };
  return { session: sessions[weightType === "float16" ? "model_fp16" : "model"]!, model: opened.model, config };
}

interface Fed {
  readonly inputIds: readonly (readonly number[])[];
  /** 0 for padding; over all tokens so far. */
  readonly attentionMask: readonly (readonly number[])[];
  readonly positionIds: readonly (readonly number[])[];
  readonly past?: Record<string, unknown>;
}

/** @returns logits by row and token, and the cache for the next call */
async function run({ session, model }: Awaited<ReturnType<typeof exported>>, { inputIds, attentionMask, positionIds, past }: Fed) {
  const B = inputIds.length;
  const empty = () => new ort.Tensor("float32", new Float32Array(0), [B, model.numKeyValueHeads, 0, model.headDim]);
  const cache = past ?? Object.fromEntries(session.inputNames.filter((name) => name.startsWith("past_")).map((name) => [name, empty()]));
  const outputs = await session.run({
    ...{ input_ids: int64(inputIds), attention_mask: int64(attentionMask), position_ids: int64(positionIds) },
    ...(cache as object),
  });
  const { data, dims } = outputs.logits!;
  const [, T, V] = dims as [number, number, number];
  const logits = inputIds.map((_, b) =>
    Array.from({ length: T }, (_row, t) => (data as Float32Array).subarray((b * T + t) * V, (b * T + t + 1) * V)),
  );
  const next = Object.fromEntries(
    Object.entries(outputs).flatMap(([name, tensor]) =>
      name.startsWith("present.") ? [[name.replace("present", "past_key_values"), tensor]] : [],
    ),
  );
  return { logits, past: next };
}

function expectClose(actual: readonly Float32Array[], expected: readonly ArrayLike<number>[], tolerance: number): void {
  expect(actual.length).toBe(expected.length);
  let worst = 0;
  actual.forEach((row, t) => row.forEach((value, v) => (worst = Math.max(worst, Math.abs(value - expected[t]![v]!)))));
  expect(worst).toBeLessThan(tolerance);
}

const ones = (rows: readonly (readonly number[])[]) => rows.map((row) => row.map(() => 1));
const counted = (rows: readonly (readonly number[])[]) => rows.map((row) => row.map((_, t) => t));

/** A file holds the tables of the trained length, beyond which this scaling depends on the length at hand; the fixture is longer. */
const families = readdirSync(`${reference}families`).filter((family) => family !== "llama-rope-dynamic");

describe.each(families)("%s as ONNX", (family) => {
  const { inputIds, logits: expected } = JSON.parse(readFileSync(`${reference}families/${family}/reference.json`, "utf8")) as {
    inputIds: number[][];
    logits: number[][][];
  };
  it("gives the logits of transformers, at once and token by token with a cache", async () => {
    const model = await exported(family, await open(family));
    const whole = await run(model, { inputIds, attentionMask: ones(inputIds), positionIds: counted(inputIds) });
    inputIds.forEach((_, b) => expectClose(whole.logits[b]!, expected[b]!, 1e-4));
    // Where longer texts have other rotary tables, as in transformers, keys from before the length was reached would stay as they are.
    const { original_max_position_embeddings: short = 0 } = model.config;
    const T = inputIds[0]!.length;
    const half = Math.max(Math.floor(T / 2), short < T ? short + 1 : 0);
    const first = inputIds.map((row) => row.slice(0, half));
    let { past } = await run(model, { inputIds: first, attentionMask: ones(first), positionIds: counted(first) });
    for (let t = half; t < inputIds[0]!.length; t++) {
      const soFar = inputIds.map((row) => row.slice(0, t + 1));
      const next = await run(model, {
        ...{ inputIds: inputIds.map((row) => [row[t]!]), attentionMask: ones(soFar), positionIds: inputIds.map(() => [t]), past },
      });
      next.logits.forEach((rows, b) => expectClose(rows, [whole.logits[b]![t]!], 1e-4));
      past = next.past;
    }
  });

  it("looks past padding on the left", async () => {
    const model = await exported(family, await open(family));
    const padded = inputIds.map((row, b) => (b === 0 ? [0, 0, 0, ...row.slice(0, -3)] : row));
    const attentionMask = padded.map((row, b) => row.map((_, t) => (b === 0 && t < 3 ? 0 : 1)));
    const positionIds = padded.map((row, b) => row.map((_, t) => Math.max(0, b === 0 ? t - 3 : t)));
    const { logits } = await run(model, { inputIds: padded, attentionMask, positionIds });
    expectClose(logits[0]!.slice(3), expected[0]!.slice(0, -3), 1e-4);
  });
});

describe("methods as ONNX", () => {
  const inputIds = [[3, 5, 7, 9, 11, 13]];
  const trained = async (attach: (target: MethodTarget) => AttachedMethod) => {
    const opened = await open("llama", attach);
    for (let step = 1; step <= 3; step++) {
      await opened.engine.accumulate(batchOf(inputIds), { gradientScale: 0.2, seed: step });
      await opened.engine.update({ learningRate: 0.05, step, gradientScale: 1 });
    }
    return opened;
  };
  const lossOf = (logits: readonly Float32Array[]): number => {
    const losses = inputIds[0]!.slice(1).map((label, t) => {
      const row = [...logits[t]!];
      const most = Math.max(...row);
      return most + Math.log(row.reduce((sum, value) => sum + Math.exp(value - most), 0)) - row[label]!;
    });
    return losses.reduce((sum, loss) => sum + loss, 0);
  };
  const feed = { inputIds, attentionMask: ones(inputIds), positionIds: counted(inputIds) };

  it("folds LoRA into the weights", async () => {
    const opened = await trained((target) => lora.attach(target, lora.configSchema.parse({ name: "lora" })));
    const model = await exported("llama", opened);
    expect(model.session.inputNames.filter((name) => /lora/.test(name))).toEqual([]);
    expect(lossOf((await run(model, feed)).logits[0]!)).toBeCloseTo((await opened.engine.evaluate(batchOf(inputIds))).lossSum, 4);
  });

  it("keeps layers that do not fold", async () => {
    const { bottleneck } = await import("../../src/methods/bottleneck.ts");
    const opened = await trained((target) => bottleneck.attach(target, bottleneck.configSchema.parse({ name: "bottleneck" })));
    const { logits } = await run(await exported("llama", opened), feed);
    expect(lossOf(logits[0]!)).toBeCloseTo((await opened.engine.evaluate(batchOf(inputIds))).lossSum, 4);
  });

  it("refuses virtual tokens", async () => {
    const opened = await open("llama", (target) =>
      promptTuning.attach(target, promptTuning.configSchema.parse({ name: "prompt-tuning", promptTuningInit: "RANDOM" })),
    );
    await expect(exported("llama", opened)).rejects.toThrow(/virtual tokens.*--format peft/);
  });

  it("halves the file with float16 weights", async () => {
    const opened = await open("llama");
    const [whole, half] = [await run(await exported("llama", opened), feed), await run(await exported("llama", opened, "float16"), feed)];
    expectClose(half.logits[0]!, whole.logits[0]!, 2e-2);
  });
});
