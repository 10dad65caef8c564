/** Greedy decoding with the cache, token by token, against transformers. */
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { createOnnxBackend } from "../../src/backends/onnx/backend.ts";
import { openModel } from "../../src/execution/loaded-model.ts";
import { createDecoder } from "../../src/generation/decoder.ts";
import { sampleToken } from "../../src/generation/sampling/sample-token.ts";
import { openFolder } from "../../src/platform/node/files.ts";
import { loadOnnxRuntime } from "../../src/platform/node/onnxruntime.ts";
import { oneRow } from "../one-row.ts";
import { sharedData, skipWithout } from "../shared-data.ts";
import { reference } from "./tiny-model.ts";

interface Greedy {
  cases: Record<string, { base: string; prompt: number[]; generated: number[]; logits: number[][] }>;
}
const { cases } = JSON.parse(readFileSync(`${reference}generation/greedy.json`, "utf8")) as Greedy;
const backend = createOnnxBackend({ runtime: await loadOnnxRuntime(), provider: "cpu" });

describe("greedy decoding on tiny models", () => {
  it.each(Object.keys(cases))("%s", async (name) => {
    const { base, prompt, generated, logits: expected } = cases[name]!;
    const { createModel } = await import("../../src/models/families/registry.ts");
    const { describeModel } = await import("../../src/models/segments.ts");
    const { openCheckpoint } = await import("../../src/models/weights/checkpoint.ts");
    const { loadParameters } = await import("../../src/execution/weights/parameter-store.ts");
    const { weightsOf } = await import("../../src/execution/weights/checkpoint-weights.ts");
    const { untouched } = await import("../../src/execution/loaded-model.ts");
    const { createRandom } = await import("../../src/base/random.ts");
    const checkpoint = await openCheckpoint(openFolder(`${reference}${base}`));
    const model = createModel(checkpoint.config);
    const store = await loadParameters({
      specs: describeModel(model).parameters,
      method: untouched,
      source: weightsOf(checkpoint),
      random: createRandom(0),
      storable: backend.storable,
    });
    const decoder = await createDecoder({ backend, model, method: untouched, store });
    const read = oneRow(decoder);
    let logits = await read(prompt);
    for (const [i, id] of generated.entries()) {
      expected[i]!.forEach((value, j) => expect(Math.abs(logits[j]! - value)).toBeLessThan(1e-4));
      const next = sampleToken(logits, { temperature: 0, random: { next: () => 0 } });
      expect(next).toBe(id);
      logits = await read([next]);
    }
  });
});

describe.skipIf(skipWithout("models"))("greedy decoding on real checkpoints", () => {
  it.each(["stories260k-llama", "chat-gpt2"])("%s", async (name) => {
    const folder = `${sharedData}/models/${name}`;
    const {
      greedy,
      passage_ids: passage,
      last_position_top5: top,
    } = JSON.parse(readFileSync(`${folder}/expected.json`, "utf8")) as {
      greedy: { prompt_ids: number[]; ids: number[] }[];
      passage_ids: number[];
      last_position_top5: [number[], number[]];
    };
    const loaded = await openModel({ folder: openFolder(folder), backend });
    const decoder = await createDecoder(loaded);
    const last = await oneRow(decoder)(passage);
    top[0].forEach((id, i) => expect(Math.abs(last[id]! - top[1][i]!)).toBeLessThan(1e-3));
    for (const { prompt_ids: prompt, ids } of greedy) {
      const read = oneRow(decoder);
      let logits = await read(prompt);
      const made: number[] = [];
      while (made.length < Math.min(ids.length, 60)) {
        made.push(sampleToken(logits, { temperature: 0, random: { next: () => 0 } }));
        logits = await read([made.at(-1)!]);
      }
      expect(made).toEqual(ids.slice(0, made.length));
    }
  });
});
