/** Engines on random weights of any shape with any method, for measuring speed and memory. */
import { createOnnxBackend } from "../src/backends/onnx/backend.ts";
import { createRandom } from "../src/base/random.ts";
import type { Batch, TokenRows } from "../src/data/batch.ts";
import { createOptimizer } from "../src/execution/optimizer/create-optimizer.ts";
import { SegmentedTrainingEngine } from "../src/execution/training-engine.ts";
import type { WeightSource } from "../src/execution/weights/checkpoint-weights.ts";
import { loadParameters } from "../src/execution/weights/parameter-store.ts";
import type { Method } from "../src/methods/method.ts";
import { methods } from "../src/methods/registry.ts";
import { createModel } from "../src/models/families/registry.ts";
import { describeModel } from "../src/models/segments.ts";
import { causalLm } from "../src/objectives/causal-lm.ts";
import { adamw } from "../src/optimizers/adamw.ts";
import { loadOnnxRuntime } from "../src/platform/node/onnxruntime.ts";
import { type BenchShape, type ShapeName, shapes } from "./shapes.ts";

export interface RandomModelOptions {
  readonly shape: ShapeName;
  /** As in a run's configuration. */
  readonly method: { readonly name: string } & Readonly<Record<string, unknown>>;
}

export async function openRandomModel({ shape, method: given }: RandomModelOptions) {
  const backend = createOnnxBackend({ runtime: await loadOnnxRuntime(), provider: "cpu" });
  const model = createModel(shapes[shape].config);
  const description = describeModel(model);
  const chosen = (methods as readonly Method[]).find(({ name }) => name === given.name)!;
  const method = chosen.attach({ model, ...description }, chosen.configSchema.parse(given));
  const sizes = new Map(description.parameters.map((spec) => [spec.name, spec.shape.reduce((product, n) => product * n, 1)]));
  const store = await loadParameters({
    ...{ specs: description.parameters, method, random: createRandom(1), storable: backend.storable },
    source: randomWeights((name) => sizes.get(name)!),
  });
  const engine = new SegmentedTrainingEngine({
    ...{ backend, model, method, regularisers: [], store, activationCheckpointing: "none" },
    ...{ objective: causalLm, objectiveConfig: { name: "causal-lm", labelSmoothing: 0 } },
    optimizer: await createOptimizer({
      ...{ backend, optimizer: adamw, store },
      config: adamw.configSchema.parse({ name: "adamw" }),
    }),
  });
  return { backend, model, store, engine };
}

/** One cheap generator for all weights: their values do not matter to the time. */
function randomWeights(sizeOf: (name: string) => number): WeightSource {
  let state = 1;
  return {
    dtypeOf: () => "float32",
    async readInto() {
      throw new Error("float32 weights are read with readFloat32.");
    },
    async readFloat32(name) {
      const data = new Float32Array(sizeOf(name));
      const isNorm = /norm|ln_/i.test(name);
      for (let i = 0; i < data.length; i++) {
        state = (Math.imul(state, 1664525) + 1013904223) | 0;
        data[i] = isNorm ? 1 : state * (0.05 / 2 ** 31);
      }
      return data;
    },
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
