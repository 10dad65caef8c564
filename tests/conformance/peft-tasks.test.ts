/** Methods on an encoder with a head for labels and on an encoder-decoder, from adapters that PEFT wrote: loss, gradients and training steps. */
import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { collate } from "../../src/data/batches.ts";
import { sameToken, wholeDocument } from "../../src/data/collators.ts";
import { readAdapter } from "../../src/execution/weights/adapter-files.ts";
import { forTask } from "../../src/methods/for-task.ts";
import type { Model } from "../../src/models/model.ts";
import { singleLabelClassification } from "../../src/objectives/single-label-classification.ts";
import { openFolder } from "../../src/platform/node/files.ts";
import { expectSummary, type Summary } from "./expect-summary.ts";
import { openTinyModel, reference } from "./tiny-model.ts";

interface Reference {
  base: string;
  loss: number;
  gradients: Record<string, Summary>;
  lossBeforeStep: number[];
  optimizer: { learningRate: number; epsilon: number };
}
interface BaseReference {
  inputIds?: number[][];
  sourceIds: number[][];
  decoderInputIds: number[][];
  labels: (number | number[])[];
}
const read = <T>(path: string): T => JSON.parse(readFileSync(path, "utf8")) as T;
const row = (ids: readonly number[]): Int32Array => Int32Array.from(ids);

function batchOf({ inputIds, sourceIds, decoderInputIds, labels }: BaseReference) {
  if (inputIds)
    return collate(
      inputIds.map((ids, i) => [{ inputIds: row(ids), labels: row([]), target: [labels[i] as number] }]),
      wholeDocument({ pools: "first", target: "class" }),
    );
  return collate(
    sourceIds.map((ids, i) => [{ encoderInputIds: row(ids), inputIds: row(decoderInputIds[i]!), labels: row(labels[i] as number[]) }]),
    sameToken,
  );
}

describe.each(readdirSync(`${reference}peft-tasks`))("%s", (name) => {
  const folder = `${reference}peft-tasks/${name}`;
  const expected = read<Reference>(`${folder}/reference.json`);
  const batch = batchOf(read<BaseReference>(`${reference}${expected.base}/reference.json`));
  const hasHead = expected.base.startsWith("label-heads");

  async function open() {
    const adapter = await readAdapter(openFolder(`${folder}/adapter`));
    const opened = await openTinyModel({
      folder: `${reference}${expected.base}`,
      ...(hasHead && {
        head: { name: "sequence-classification", numLabels: 3 },
        objective: { objective: singleLabelClassification, config: {} },
      }),
      attach: (target) => forTask(adapter.method.attach(target, adapter.config), { model: target.model as Model, peftTaskType: "any" }),
      optimizer: expected.optimizer,
    });
    adapter.loadInto(opened.store, opened.method);
    return opened;
  }

  it("agrees with PEFT in loss, gradients and training steps", async () => {
    const { engine, store, method } = await open();
    const byFileName = new Map(
      [...store.parameters.values()].map((parameter) => [method.adapter!.fileName(parameter.spec.name), parameter]),
    );
    // A prompt that an encoder made comes without it, so what PEFT goes on to train is not in the file. And of an encoder-decoder with an
    // even number of layers it goes on to train one prefix for two of them, where each has its own here.
    const isReadOnly = name.endsWith("p-tuning") || name === "bart-prefix-tuning";
    const steps = isReadOnly ? expected.lossBeforeStep.slice(0, 1) : expected.lossBeforeStep;
    for (const [step, loss] of steps.entries()) {
      const { lossSum, tokens } = await engine.accumulate(batch, { gradientScale: 1 / batch.targetLabels.length, seed: 0 });
      expect(Math.abs(lossSum / tokens - loss), `loss before step ${step + 1}`).toBeLessThan(2e-5);
      if (step === 0) compareGradients();
      await engine.update({ learningRate: expected.optimizer.learningRate, step: step + 1, gradientScale: 1 });
    }

    function compareGradients(): void {
      for (const [tensor, summary] of Object.entries(expected.gradients)) {
        const fileName = tensor.replace("modules_to_save.", "").replace("lora_magnitude_vector.weight", "lora_magnitude_vector");
        const parameter = byFileName.get(fileName);
        // Prompts are held under another name than they are trained under; their file is compared by what it leads to, the loss.
        if (parameter) expectSummary(tensor, parameter.gradient!, summary, 1e-4);
        else expect(tensor).toMatch(/^prompt_encoder\./);
      }
    }
  });
});
