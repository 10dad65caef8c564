/** Engines on random weights of a given Llama shape, for measuring speed and memory. */

import type { Backend } from "../src/backends/backend.ts";
import { createOnnxBackend } from "../src/backends/onnx/backend.ts";
import { float32ToBfloat16, float32ToFloat16 } from "../src/base/half.ts";
import { createRandom } from "../src/base/random.ts";
import type { Batch } from "../src/data/batch.ts";
import { createOptimizer } from "../src/execution/optimizer/create-optimizer.ts";
import { SegmentedTrainingEngine } from "../src/execution/training-engine.ts";
import { loadParameters } from "../src/execution/weights/parameter-store.ts";
import { openQuantisedBase, type QuantizationConfig } from "../src/execution/weights/quantised-base.ts";
import { full } from "../src/methods/full.ts";
import { lora } from "../src/methods/lora/lora.ts";
import { createModel } from "../src/models/families/registry.ts";
import { describeModel } from "../src/models/segments.ts";
import { bytesOf } from "../src/models/weights/element-types.ts";
import { causalLm } from "../src/objectives/causal-lm.ts";
import { adamw } from "../src/optimizers/adamw.ts";
import { openFolder } from "../src/platform/node/files.ts";
import { loadOnnxRuntime } from "../src/platform/node/onnxruntime.ts";

export interface BenchShape {
  readonly layers: number;
  readonly hidden: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly intermediate: number;
  readonly vocab: number;
}

/** SmolLM2-135M's shape. */
export const shape135m: BenchShape = { layers: 30, hidden: 576, heads: 9, kvHeads: 3, intermediate: 1536, vocab: 49152 };

export interface BenchOptions {
  readonly shape: BenchShape;
  readonly method: "lora" | "full";
  readonly weights: "float32" | "float16" | "bfloat16";
  readonly quantization?: QuantizationConfig | undefined;
  readonly activationCheckpointing?: "none" | "block";
  /** ONNX Runtime on the CPU where absent. */
  readonly backend?: Backend;
}

export async function openRandomLlama(options: BenchOptions) {
  const { shape, method: methodName, weights, quantization, activationCheckpointing = "none" } = options;
  const backend = options.backend ?? createOnnxBackend({ runtime: await loadOnnxRuntime(), provider: "cpu" });
  const model = createModel({
    model_type: "llama",
    ...{ hidden_size: shape.hidden, num_hidden_layers: shape.layers, num_attention_heads: shape.heads, num_key_value_heads: shape.kvHeads },
    ...{
      intermediate_size: shape.intermediate,
      vocab_size: shape.vocab,
      max_position_embeddings: 8192,
      rms_norm_eps: 1e-5,
      tie_word_embeddings: true,
    },
  });
  const { parameters, linears } = describeModel(model);
  const target = { model, parameters, linears };
  const method =
    methodName === "full" ? full.attach(target) : lora.attach(target, lora.configSchema.parse({ name: "lora", rank: 16, loraAlpha: 32 }));
  // One cheap generator for all weights: their values do not matter to the time.
  const byName = new Map(parameters.map((spec) => [spec.name, spec]));
  let state = 1;
  const values = (name: string): Float32Array => {
    const size = byName.get(name)!.shape.reduce((product, n) => product * n, 1);
    const data = new Float32Array(size);
    for (let i = 0; i < size; i++) {
      state = (Math.imul(state, 1664525) + 1013904223) | 0;
      data[i] = name.includes("norm") ? 1 : state * (0.05 / 2 ** 31);
    }
    return data;
  };
  const source = {
    dtypeOf: () => weights,
    readFloat32: async (name: string) => values(name),
    readInto: async (name: string, into: Uint8Array) =>
      into.set(bytesOf((weights === "bfloat16" ? float32ToBfloat16 : float32ToFloat16)(values(name)))),
  };
  const quantised =
    quantization && (await openQuantisedBase({ config: quantization, linears, source, folder: openFolder(import.meta.dirname) }));
  const store = await loadParameters({
    ...{ specs: parameters, method, source, quantised },
    random: createRandom(1),
    storable: backend.storable,
  });
  const engine = new SegmentedTrainingEngine({
    ...{ backend, model, method, regularisers: [], store, activationCheckpointing },
    ...{ objective: causalLm, objectiveConfig: { name: "causal-lm", labelSmoothing: 0 } },
    optimizer: await createOptimizer({
      backend,
      optimizer: adamw,
      config: adamw.configSchema.parse({ name: "adamw" }),
      store,
    }),
  });
  return { backend, model, store, engine };
}

/** One sequence of random tokens, every next token supervised. */
export function randomBatch({ batchSize, tokens, vocab }: { batchSize: number; tokens: number; vocab: number }): Batch {
  const random = createRandom(7);
  const inputIds = Int32Array.from({ length: batchSize * tokens }, () => random.integer(vocab));
  const targets = [...inputIds.keys()].filter((i) => (i + 1) % tokens !== 0);
  return {
    ...{ batchSize, tokens, inputIds, tokenCount: inputIds.length },
    positionIds: inputIds.map((_, i) => i % tokens),
    documentIds: inputIds.map((_, i) => Math.floor(i / tokens)),
    targetPositions: Int32Array.from(targets),
    targetLabels: Int32Array.from(targets, (i) => inputIds[i + 1]!),
  };
}
