/** A short name for a checkpoint's weights, by which an adapter recognises its base without reading all of it. */
import type { Checkpoint } from "./checkpoint.ts";

/** Bytes of each tensor that count. Tuning a model moves all of its weights, so the first ones tell. */
const sampledBytes = 4096;

/** SHA-256 over names, types, shapes and the first bytes of all tensors, in hexadecimal. */
export async function fingerprint({ tensors }: Checkpoint): Promise<string> {
  const encoder = new TextEncoder();
  const pieces: Uint8Array[] = [];
  for (const [name, { dtype, shape, begin, end, file }] of [...tensors].sort(([a], [b]) => (a < b ? -1 : 1))) {
    pieces.push(encoder.encode(`${name} ${dtype} ${shape} `), await file.source.read(begin, Math.min(sampledBytes, end - begin)));
  }
  const joined = new Uint8Array(await new Blob(pieces as BlobPart[]).arrayBuffer());
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", joined));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
