/**
 * What we write loads in Python PEFT and transformers and gives the same numbers: npm run test:interop.
 * Needs a Python with bench/peers/requirements.txt, named by TUNESMITH_PEER_PYTHON; skips, and says so, without one.
 */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createOnnxBackend } from "../../src/backends/onnx/backend.ts";
import { openModel } from "../../src/execution/loaded-model.ts";
import { readAdapter } from "../../src/execution/weights/adapter-files.ts";
import { createDecoder } from "../../src/generation/decoder.ts";
import { openFolder } from "../../src/platform/node/files.ts";
import { loadOnnxRuntime } from "../../src/platform/node/onnxruntime.ts";
import { root, runCli } from "../cli/run-cli.ts";
import { oneRow } from "../one-row.ts";

const python = process.env.TUNESMITH_PEER_PYTHON;
if (!python) console.log("skipped: interop with Python: TUNESMITH_PEER_PYTHON names no Python with bench/peers/requirements.txt");
const folder = mkdtempSync(join(tmpdir(), "tunesmith-interop-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const base = join(root, "examples/base-model/checkpoint");
const ids = [3, 40, 41, 42, 43, 100, 101, 102, 200, 300];

describe.skipIf(!python)("files we write, in Python", () => {
  let ours: Float32Array;
  beforeAll(async () => {
    const config = join(folder, "run.yaml");
    writeFileSync(
      config,
      `model: ${base}\ndata: { train: examples/quickstart/instructions.jsonl }\nmethod: { name: lora, rank: 4 }\noptimizer: { name: adamw, learningRate: 5.0e-3 }\ntraining: { maxSteps: 10 }\noutput: ${join(folder, "run")}\n`,
    );
    expect((await runCli(["train", config])).code).toBe(0);
    expect((await runCli(["export", join(folder, "run"), join(folder, "merged")])).code).toBe(0);
    const backend = createOnnxBackend({ runtime: await loadOnnxRuntime(), provider: "cpu" });
    const adapter = await readAdapter(openFolder(join(folder, "run/adapter")));
    const decoder = await createDecoder(await openModel({ folder: openFolder(base), backend, adapter }));
    ours = await oneRow(decoder)(ids);
  });

  const inPython = (script: string, args: string[]): number[] => {
    const output = execFileSync(
      python!,
      [join(root, "tests/interop", script), ...args, "--input-ids", JSON.stringify([ids]), "--logits", "0"],
      { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] },
    );
    const { logits } = JSON.parse(output.trim().split("\n").at(-1)!) as { logits: number[][][] };
    return logits[0]!.at(-1)!;
  };
  const expectClose = (theirs: number[], tolerance: number): void => {
    expect(theirs.length).toBe(ours.length);
    theirs.forEach((value, i) => expect(Math.abs(value - ours[i]!)).toBeLessThan(tolerance));
  };

  it("PEFT loads the adapter and computes the same logits", () =>
    expectClose(inPython("load_adapter.py", ["--base", base, "--adapter", join(folder, "run/adapter")]), 2e-3));
  // The merged weights are rounded to the base's bfloat16.
  it("transformers loads the merged folder", () => expectClose(inPython("load_merged.py", ["--model", join(folder, "merged")]), 0.5));
});
