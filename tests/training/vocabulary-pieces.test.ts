/** A trained vocabulary that is taken in pieces: its gradient against differences of the loss, which does not know of pieces. */
import { describe, expect, it } from "vitest";
import { createRandom } from "../../src/base/random.ts";
import { SegmentedTrainingEngine } from "../../src/execution/training-engine.ts";
import { loadParameters } from "../../src/execution/weights/parameter-store.ts";
import { full } from "../../src/methods/full.ts";
import { createModel } from "../../src/models/families/registry.ts";
import { describeModel } from "../../src/models/segments.ts";
import { causalLm } from "../../src/objectives/causal-lm.ts";
import { backend, batchOf } from "../conformance/tiny-model.ts";

/** Two pieces, the second smaller. */
const vocabSize = 5000;
const step = 1e-2;

async function openModel({ tied, labelSmoothing }: { tied: boolean; labelSmoothing: number }) {
  const model = createModel({
    ...{ model_type: "llama", vocab_size: vocabSize, hidden_size: 8, intermediate_size: 16, num_hidden_layers: 1 },
    ...{ num_attention_heads: 2, max_position_embeddings: 64, rms_norm_eps: 1e-5, tie_word_embeddings: tied },
  });
  const description = describeModel(model);
  const method = full.attach(description);
  const random = createRandom(5);
  const shapes = new Map(description.parameters.map(({ name, shape }) => [name, shape]));
  const store = await loadParameters({
    ...{ specs: description.parameters, method, random, storable: backend.storable },
    source: {
      dtypeOf: () => "float32",
      readInto: () => Promise.reject(new Error("not asked for")),
      readFloat32: async (name) => Float32Array.from({ length: shapes.get(name)!.reduce((a, b) => a * b) }, () => random.normal()),
    },
  });
  const engine = new SegmentedTrainingEngine({
    ...{ backend, model, method, regularisers: [], store, activationCheckpointing: "none" },
    ...{ objective: causalLm, objectiveConfig: { name: "causal-lm", labelSmoothing } },
  });
  const { tensor, gradient } = store.parameters.get(tied ? "model.embed_tokens.weight" : "lm_head.weight")!;
  return { engine, weights: tensor.data as Float32Array, gradient: gradient! };
}

const batch = batchOf([
  [3, 4500, 17, 4096, 4095, 4999, 3],
  [0, 1, 4097, 2048, 3, 4500, 12],
]);

describe.each([
  { tied: true, labelSmoothing: 0 },
  { tied: false, labelSmoothing: 0 },
  { tied: true, labelSmoothing: 0.1 },
])("a trained vocabulary in pieces (tied: $tied, label smoothing: $labelSmoothing)", (options) => {
  it.each([
    { piece: "the first", rows: [0, 4096] },
    { piece: "the last", rows: [4096, vocabSize] },
  ] as const)("has the gradient that differences of the loss show in $piece", async ({ rows: [start, end] }) => {
    const { engine, weights, gradient } = await openModel(options);
    await engine.accumulate(batch, { gradientScale: 1, seed: 1 });
    const piece = gradient.slice(8 * start, 8 * end);
    const length = Math.hypot(...piece);
    const lossAt = async (distance: number): Promise<number> => {
      for (const [i, slope] of piece.entries()) weights[8 * start + i]! += (distance * slope) / length;
      const { lossSum } = await engine.evaluate(batch);
      for (const [i, slope] of piece.entries()) weights[8 * start + i]! -= (distance * slope) / length;
      return lossSum;
    };
    const slope = ((await lossAt(step)) - (await lossAt(-step))) / (2 * step);
    expect(Math.abs(slope - length)).toBeLessThan(5e-3 * length);
  });

  it("adds what further batches of a step give", async () => {
    const { engine, gradient } = await openModel(options);
    await engine.accumulate(batch, { gradientScale: 1, seed: 1 });
    const once = gradient.slice();
    await engine.accumulate(batch, { gradientScale: 1, seed: 1 });
    for (const [i, value] of once.entries()) expect(Math.abs(gradient[i]! - 2 * value)).toBeLessThanOrEqual(1e-5 * (1 + Math.abs(value)));
  });
});
