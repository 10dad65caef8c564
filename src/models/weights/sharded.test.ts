import { expect, test } from "vitest";
import type { Folder } from "../../base/byte-source.ts";
import { openCheckpoint } from "./checkpoint.ts";
import { bytesOf } from "./element-types.ts";
import type { TensorToWrite } from "./safetensors.ts";
import { encodeShards } from "./sharded.ts";

const tensors = new Map<string, TensorToWrite>(
  Object.entries({ c: 10, a: 4, b: 4, d: 2 }).map(([name, size], i) => [
    name,
    { dtype: "F32", shape: [size], read: async () => bytesOf(new Float32Array(size).fill(i)) },
  ]),
);

/** The files, written into memory. */
async function folderOf(files: ReturnType<typeof encodeShards>): Promise<Folder> {
  const written = new Map<string, Uint8Array>([["config.json", new TextEncoder().encode("{}")]]);
  for (const [name, content] of Object.entries(files)) {
    const pieces: Uint8Array[] = [];
    if (typeof content === "string") pieces.push(new TextEncoder().encode(content));
    else for await (const piece of content) pieces.push(piece);
    written.set(name, Buffer.concat(pieces));
  }
  return {
    name: "memory",
    list: async () => [...written.keys()],
    has: async (file) => written.has(file),
    readText: async (file) => new TextDecoder().decode(written.get(file)),
    open: async (file) => {
      const bytes = written.get(file)!;
      return { name: file, size: bytes.length, read: async (offset, length) => bytes.slice(offset, offset + length) };
    },
  };
}

test.each([
  [1e6, ["model.safetensors"]],
  [40, ["model-00001-of-00003.safetensors", "model-00002-of-00003.safetensors", "model-00003-of-00003.safetensors"]],
])("shards of %d bytes read back as one checkpoint", async (shardBytes, names) => {
  const files = encodeShards(tensors, shardBytes);
  expect(Object.keys(files).filter((name) => name.endsWith(".safetensors"))).toEqual(names);
  const checkpoint = await openCheckpoint(await folderOf(files));
  expect([...checkpoint.tensors.keys()].sort()).toEqual(["a", "b", "c", "d"]);
  expect(checkpoint.totalBytes).toBe(80);
  for (const [name, { shape }] of tensors) expect(checkpoint.tensors.get(name)!.shape).toEqual(shape);
});
