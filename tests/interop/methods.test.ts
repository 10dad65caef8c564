/**
 * Adapters of every kind that PEFT or AdapterHub knows, written here and read there: npm run test:interop. The other way is in
 * tests/conformance. Needs a Python with bench/peers/requirements.txt, named by TUNESMITH_PEER_PYTHON, and one with AdapterHub's
 * `adapters`, named by TUNESMITH_ADAPTERS_PYTHON; skips, and says so, without one.
 */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { createOnnxBackend } from "../../src/backends/onnx/backend.ts";
import { createRandom } from "../../src/base/random.ts";
import { openModel } from "../../src/execution/loaded-model.ts";
import { encodeAdapter } from "../../src/execution/weights/adapter-files.ts";
import type { QuantizationConfig } from "../../src/execution/weights/quantised-base.ts";
import { createDecoder } from "../../src/generation/decoder.ts";
import type { Method } from "../../src/methods/method.ts";
import { methods } from "../../src/methods/registry.ts";
import { openFolder, writeFileAtomic } from "../../src/platform/node/files.ts";
import { loadOnnxRuntime } from "../../src/platform/node/onnxruntime.ts";
import { root } from "../cli/run-cli.ts";
import { batchOf } from "../conformance/tiny-model.ts";
import { oneRow } from "../one-row.ts";

const peers = {
  peft: { python: process.env.TUNESMITH_PEER_PYTHON, script: "load_adapter.py" },
  adapters: { python: process.env.TUNESMITH_ADAPTERS_PYTHON, script: "load_bottleneck.py" },
} as const;
if (!peers.peft.python) console.log("skipped: methods in PEFT: TUNESMITH_PEER_PYTHON names no Python with bench/peers/requirements.txt");
if (!peers.adapters.python) console.log("skipped: adapter layers in AdapterHub: TUNESMITH_ADAPTERS_PYTHON names no Python with adapters");
const folder = mkdtempSync(join(tmpdir(), "tunesmith-interop-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const base = join(root, "examples/base-model/checkpoint");
const ids = [3, 40, 41, 42, 43, 100, 101, 102, 200, 300];
const nf4 = { format: "nf4", doubleQuantization: true, blockSize: 64 };
const cases: readonly [string, Case, ("peft" | "adapters")?][] = [
  ["ia3", {}],
  ["prompt-tuning", { numVirtualTokens: 7 }],
  ["p-tuning", { numVirtualTokens: 7, encoderHiddenSize: 16 }],
  ["p-tuning", { numVirtualTokens: 7, encoderHiddenSize: 16, encoderReparameterizationType: "LSTM" }],
  ["prefix-tuning", { numVirtualTokens: 7 }],
  ["prefix-tuning", { numVirtualTokens: 7, prefixProjection: true, encoderHiddenSize: 16 }],
  ["lora", { rank: 4, quantization: nf4 }],
  ["lora", { rank: 4, initLoraWeights: "loftq", quantization: nf4 }],
  ["lora", { rank: 4, initLoraWeights: "eva" }],
  ["new-tokens", { tokens: [40, 101] }],
  ["bottleneck", { architecture: "houlsby" }, "adapters"],
  ["bottleneck", { architecture: "pfeiffer", dropout: 0.1 }, "adapters"],
  ["bottleneck", { architecture: "parallel", nonLinearity: "gelu" }, "adapters"],
];

type Case = { readonly quantization?: QuantizationConfig } & Readonly<Record<string, unknown>>;

describe.each(["peft", "adapters"] as const)("what we write, in %s", (peer) => {
  const { python, script } = peers[peer];
  const here = cases.filter(([, , of = "peft"]) => of === peer).map(([name, config], i) => [name, config, i] as const);
  it.skipIf(!python).each(here)("%s %j computes the same logits", async (name, { quantization, ...config }: Case, i) => {
    const backend = createOnnxBackend({ runtime: await loadOnnxRuntime(), provider: "cpu" });
    const method = (methods as readonly Method[]).find((candidate) => candidate.name === name)!;
    const loaded = await openModel({
      folder: openFolder(base),
      backend,
      method: { method, config: method.configSchema.parse({ name, ...config }) },
      quantization,
      trainingBatches: () => [batchOf([Array.from({ length: 64 }, (_, at) => 3 + ((at * at) % 200))])],
    });
    const random = createRandom(7);
    for (const { tensor, gradient } of loaded.store.parameters.values())
      if (gradient) for (let j = 0; j < tensor.data.length; j++) (tensor.data as Float32Array)[j]! += 0.2 * random.normal();
    const path = join(folder, peer, String(i));
    for (const [file, content] of Object.entries(encodeAdapter({ ...loaded, baseModel: base })))
      await writeFileAtomic(join(path, file), content);
    const ours = await oneRow(await createDecoder(loaded))(ids);
    const output = execFileSync(
      python!,
      [
        ...[join(root, "tests/interop", script), "--base", base, "--adapter", path, "--input-ids", JSON.stringify([ids]), "--logits", "0"],
        ...(quantization ? ["--nf4"] : []),
      ],
      { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] },
    );
    const { logits } = JSON.parse(output.trim().split("\n").at(-1)!) as { logits: number[][][] };
    const theirs = logits[0]!.at(-1)!;
    expect(theirs.length).toBe(ours.length);
    theirs.forEach((value, token) => expect(Math.abs(value - ours[token]!), `token ${token}`).toBeLessThan(2e-3));
  });
});
