import { expect, test } from "vitest";
import { changedInputs, type Manifest, parseManifest, serializeManifest } from "./manifest.ts";

const manifest: Manifest = {
  formatVersion: 1,
  command: ["tunesmith", "train", "run.yaml"],
  seed: 42,
  startedAt: "2025-06-01T10:00:00Z",
  finishedAt: "2025-06-01T10:01:30.250Z",
  status: "completed",
  resumedFrom: [{ step: 20, at: "2025-06-01T10:00:40Z" }],
  environment: { tunesmith: "0.1.0", node: "22.0.0", onnxruntime: "1.30.0", platform: "linux-x64", cores: 2, device: "cpu" },
  data: [
    { split: "validation", file: "b.jsonl", sha256: "b".repeat(64), bytes: 10, rows: 2 },
    { split: "train", file: "a.jsonl", sha256: "a".repeat(64), bytes: 100, rows: 20 },
  ],
  lineage: [],
  weights: [{ file: "model.safetensors", sha256: "c".repeat(64), bytes: 1000 }],
  results: { eval_loss: 2.25, eval_perplexity: Number.POSITIVE_INFINITY },
};

test("what is written is read back, files sorted, numbers that JSON lacks as null", () => {
  const text = serializeManifest(manifest);
  const read = parseManifest(text);
  expect(read.data.map(({ file }) => file)).toEqual(["a.jsonl", "b.jsonl"]);
  expect(read).toEqual({ ...manifest, data: [manifest.data[1], manifest.data[0]], results: { eval_loss: 2.25, eval_perplexity: null } });
  expect(serializeManifest(read)).toBe(text);
});

test("a damaged manifest is explained field by field", () => {
  expect(() => parseManifest("{")).toThrow(/manifest.json is not JSON/);
  expect(() => parseManifest(JSON.stringify({ ...manifest, seed: "42", weights: [{ file: "m", sha256: "xyz", bytes: 1 }] }))).toThrow(
    /seed: .*weights\.0\.sha256: 64 hexadecimal/s,
  );
});

test("inputs that changed since the run began are named", () => {
  const now = {
    data: [{ ...manifest.data[1]!, sha256: "d".repeat(64) }],
    weights: [...manifest.weights, { file: "new.safetensors", sha256: "e".repeat(64), bytes: 1 }],
  };
  expect(changedInputs(manifest, manifest)).toEqual([]);
  expect(changedInputs(manifest, now)).toEqual(["a.jsonl has changed", "b.jsonl is no longer there", "new.safetensors is new"]);
});
