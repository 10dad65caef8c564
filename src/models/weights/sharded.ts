/** Weights in files of bounded size, with the index that names each tensor's file, as transformers writes them. */
import type { FileContent } from "../../base/folder-shelf.ts";
import { encodeSafetensors, type TensorToWrite, tensorBytes } from "./safetensors.ts";

const largestShard = 5e9;

/** One `model.safetensors` where everything fits into it; a tensor larger than a shard has a shard of its own. */
export function encodeShards(tensors: ReadonlyMap<string, TensorToWrite>, shardBytes = largestShard): Record<string, FileContent> {
  const shards: Map<string, TensorToWrite>[] = [];
  let [held, total] = [Number.POSITIVE_INFINITY, 0];
  for (const [name, tensor] of [...tensors].sort(([a], [b]) => (a < b ? -1 : 1))) {
    const bytes = tensorBytes(tensor);
    if (held + bytes > shardBytes) {
      shards.push(new Map());
      held = 0;
    }
    shards.at(-1)!.set(name, tensor);
    held += bytes;
    total += bytes;
  }
  if (shards.length === 1) return { "model.safetensors": encodeSafetensors(shards[0]!) };
  const digits = (n: number): string => String(n).padStart(5, "0");
  const named = shards.map((shard, i) => [`model-${digits(i + 1)}-of-${digits(shards.length)}.safetensors`, shard] as const);
  const weightMap = Object.fromEntries(named.flatMap(([file, shard]) => [...shard.keys()].map((name) => [name, file])));
  return {
    ...Object.fromEntries(named.map(([file, shard]) => [file, encodeSafetensors(shard)])),
    "model.safetensors.index.json": `${JSON.stringify({ metadata: { total_size: total }, weight_map: weightMap }, null, 2)}\n`,
  };
}
