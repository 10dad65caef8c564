/** On WebGPU: every task of every family with LoRA, and every method on one family of each kind. docs/support-webgpu.md is what ran. */
import { afterAll, expect, it } from "vitest";
import { createOnnxBackend } from "../../src/backends/onnx/backend.ts";
import { listDevices } from "../../src/backends/onnx/list-devices.ts";
import { loadOnnxRuntime } from "../../src/platform/node/onnxruntime.ts";
import { describeCells } from "./describe-cells.ts";
import { allMethods, SupportMatrix } from "./matrix.ts";

const runtime = await loadOnnxRuntime();
const webgpu = (await listDevices(runtime)).find(({ name }) => name === "webgpu")!;

/** One of each kind, at what it does by nature. */
const whole = ["gpt2 causal-lm", "llama causal-lm", "bert masked-lm", "t5 seq2seq-lm"];

if (webgpu.available) describeMatrix(await SupportMatrix.open());
else {
  console.log(`webgpu: skipped: ${webgpu.reason}`);
  it.skip(`webgpu: ${webgpu.reason}`, () => {});
}

function describeMatrix(matrix: SupportMatrix): void {
  const backend = createOnnxBackend({ runtime, provider: "webgpu" });
  afterAll(() => matrix.close());

  describeCells(matrix, {
    backend,
    methodsOf: ({ family, task }) => allMethods.filter(({ name }) => name === "lora" || whole.includes(`${family} ${task}`)),
  });

  it("is what docs/support-webgpu.md says", async () => {
    const page = matrix.page({
      title: "Support on WebGPU",
      intro: `Written by tests/support from runs on small random models on Node's WebGPU provider (SwiftShader in CI): each method named lowered
the loss of the task. Every task is tried with LoRA, and every method on ${whole.join(", ")}; what
else the [CPU](support.md) does is not tried here.`,
      shown: (found) => found.join(", "),
    });
    await expect(page).toMatchFileSnapshot("../../docs/support-webgpu.md");
  });
}
