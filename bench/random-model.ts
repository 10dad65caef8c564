/** Engines on random weights of any shape with any method, for measuring speed and memory. */
import { createOnnxBackend } from "../src/backends/onnx/backend.ts";
import { float32ToBfloat16, float32ToFloat16 } from "../src/base/half.ts";
import { createRandom } from "../src/base/random.ts";
import type { Batch, TokenRows } from "../src/data/batch.ts";
import { createOptimizer } from "../src/execution/optimizer/create-optimizer.ts";
import { SegmentedTrainingEngine } from "../src/execution/training-engine.ts";
import type { WeightSource } from "../src/execution/weights/checkpoint-weights.ts";
import { loadParameters } from "../src/execution/weights/parameter-store.ts";
import { openQuantisedBase, type QuantizationConfig } from "../src/execution/weights/quantised-base.ts";
import type { Method } from "../src/methods/method.ts";
import { methods } from "../src/methods/registry.ts";
import { createModel } from "../src/models/families/registry.ts";
import { describeModel } from "../src/models/segments.ts";
import { bytesOf } from "../src/models/weights/element-types.ts";
import { causalLm } from "../src/objectives/causal-lm.ts";
import { adamw } from "../src/optimizers/adamw.ts";
import { openFolder } from "../src/platform/node/files.ts";
import { loadOnnxRuntime } from "../src/platform/node/onnxruntime.ts";
import type { BenchShape } from "./shapes.ts";

export interface RandomModelOptions {
  readonly config: BenchShape["config"];
  /** As in a run's configuration. */
  readonly method: { readonly name: string } & Readonly<Record<string, unknown>>;
  /** Element type of the checkpoint; float32 where absent. */
  readonly weights?: "float32" | "float16" | "bfloat16";
  readonly quantization?: QuantizationConfig | undefined;
  readonly activationCheckpointing?: "none" | "block";
}

export async function openRandomModel(options: RandomModelOptions) {
  const { config, weights = "float32", quantization, activationCheckpointing = "none" } = options;
  const backend = createOnnxBackend({ runtime: await loadOnnxRuntime(), provider: "cpu" });
  const model = createModel(config);
  const { parameters, linears } = describeModel(model);
  const chosen = (methods as readonly Method[]).find(({ name }) => name === options.method.name)!;
  const method = chosen.attach({ model, parameters, linears }, chosen.configSchema.parse(options.method));
  const sizes = new Map(parameters.map((spec) => [spec.name, spec.shape.reduce((product, n) => product * n, 1)]));
  const source = randomWeights(weights, (name) => sizes.get(name)!);
  const quantised =
    quantization && (await openQuantisedBase({ config: quantization, linears, source, folder: openFolder(import.meta.dirname) }));
  const store = await loadParameters({
    ...{ specs: parameters, method, source, quantised },
    ...{ random: createRandom(1), storable: backend.storable },
  });
  const engine = new SegmentedTrainingEngine({
    ...{ backend, model, method, regularisers: [], store, activationCheckpointing },
    ...{ objective: causalLm, objectiveConfig: { name: "causal-lm", labelSmoothing: 0 } },
    optimizer: await createOptimizer({
      ...{ backend, optimizer: adamw, store },
      config: adamw.configSchema.parse({ name: "adamw" }),
    }),
  });
  return { backend, model, store, engine };
}

/** One cheap generator for all weights: their values do not matter to the time. */
function randomWeights(dtype: NonNullable<RandomModelOptions["weights"]>, sizeOf: (name: string) => number): WeightSource {
  let state = 1;
  const values = (name: string): Float32Array => {
    const data = new Float32Array(sizeOf(name));
    const isNorm = /norm|ln_/i.test(name);
    for (let i = 0; i < data.length; i++) {
      state = (Math.imul(state, 1664525) + 1013904223) | 0;
      data[i] = isNorm ? 1 : state * (0.05 / 2 ** 31);
    }
    return data;
  };
  const encode = { float32: (data: Float32Array) => data, float16: float32ToFloat16, bfloat16: float32ToBfloat16 }[dtype];
  return {
    dtypeOf: () => dtype,
    readInto: async (name, target) => target.set(bytesOf(encode(values(name)))),
    readFloat32: async (name) => values(name),
  };
}

/** Rows of random tokens. Causal: every next token is supervised; masked: 15% of the tokens; sequence to sequence: every token of a target as long as its source. */
export function randomBatch({ kind, config }: BenchShape, { batchSize, tokens }: { batchSize: number; tokens: number }): Batch {
  const random = createRandom(7);
  const rows = (): TokenRows => ({
    tokens,
    inputIds: Int32Array.from({ length: batchSize * tokens }, () => random.integer(config.vocab_size as number)),
    positionIds: Int32Array.from({ length: batchSize * tokens }, (_, i) => i % tokens),
    documentIds: Int32Array.from({ length: batchSize * tokens }, (_, i) => Math.floor(i / tokens)),
  });
  const main = rows();
  const places = [...main.inputIds.keys()];
  const positions = {
    "causal-lm": () => places.filter((i) => (i + 1) % tokens !== 0),
    "masked-lm": () => places.filter((i) => i % 20 < 3),
    "seq2seq-lm": () => places,
  }[kind]();
  const shift = kind === "causal-lm" ? 1 : 0;
  return {
    ...{ ...main, batchSize, tokenCount: main.inputIds.length },
    ...(kind === "seq2seq-lm" && { encoder: rows() }),
    targetPositions: Int32Array.from(positions),
    targetLabels: Int32Array.from(positions, (i) => main.inputIds[i + shift]!),
  };
}
