import { expect, test } from "vitest";
import { createRandom } from "../../base/random.ts";
import type { Checkpoint } from "../../models/weights/checkpoint.ts";
import { encodeSafetensors } from "../../models/weights/safetensors.ts";
import { soup } from "./combiners/soup.ts";
import { taskArithmetic } from "./combiners/task_arithmetic.ts";
import { mergeModels } from "./merge-models.ts";

/** A checkpoint in memory that notes what is read of it. */
function checkpointOf(name: string, values: Record<string, number>, log: string[]): Checkpoint {
  const tensors = Object.entries(values).map(([tensor, value], i) => {
    const bytes = new Uint8Array(Float32Array.of(value, value).buffer);
    const read = async (): Promise<Uint8Array> => {
      log.push(`${name} ${tensor}`);
      return bytes.slice();
    };
    const source = { name, size: 8, read };
    return [
      tensor,
      { dtype: "F32", shape: [2], begin: 8 * i, end: 8 * i + 8, file: { source, tensors: new Map(), metadata: {} } },
    ] as const;
  });
  return { name, config: { model_type: "toy" }, generationConfig: {}, tensors: new Map(tensors), totalBytes: 8 * tensors.length };
}

async function write(tensors: ReturnType<typeof mergeModels>): Promise<number[]> {
  const pieces: Uint8Array[] = [];
  for await (const piece of encodeSafetensors(tensors)) pieces.push(piece);
  return pieces.slice(2).flatMap((piece) => [...new Float32Array(piece.slice().buffer)]);
}

test("reads one tensor of every source at a time, when its turn to be written comes", async () => {
  const log: string[] = [];
  const sources = [checkpointOf("x", { p: 1, q: 2 }, log), checkpointOf("y", { p: 3, q: 6 }, log)];
  const merged = mergeModels({ sources, weights: [1, 1], combiner: soup, config: { name: "soup" }, randomFor: () => createRandom(0) });
  expect(log).toEqual([]);
  expect(await write(merged)).toEqual([2, 2, 4, 4]);
  expect(log).toEqual(["x p", "y p", "x q", "y q"]);
});

test("adds what the sources differ from the base by", async () => {
  const base = checkpointOf("base", { p: 1 }, []);
  const sources = [checkpointOf("x", { p: 3 }, []), checkpointOf("y", { p: 0 }, [])];
  const config = { name: "task_arithmetic" };
  const merged = mergeModels({ sources, base, weights: [0.5, 2], combiner: taskArithmetic, config, randomFor: () => createRandom(0) });
  expect(await write(merged)).toEqual([0, 0]);
});
