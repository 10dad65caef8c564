/** A whole training run with every registered method, and what its folder gives when it is opened again. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { createNodeEnvironment } from "../../src/cli/environment.ts";
import { openChosenModel } from "../../src/cli/load-run.ts";
import { evaluateHeldOut } from "../../src/evaluation/held-out.ts";
import { SegmentedTrainingEngine } from "../../src/execution/training-engine.ts";
import { mergedCheckpointFiles } from "../../src/export/merged-checkpoint.ts";
import type { Method } from "../../src/methods/method.ts";
import { methods } from "../../src/methods/registry.ts";
import { causalLm } from "../../src/objectives/causal-lm.ts";
import { openFolder } from "../../src/platform/node/files.ts";
import { parseRunConfig } from "../../src/runs/config.ts";
import { parseMetrics } from "../../src/runs/metrics-log.ts";
import { prepareRun } from "../../src/runs/prepare.ts";
import { runTraining } from "../../src/runs/train-run.ts";
import { words as smallWords, writeSmallCheckpoint } from "../cli/small-checkpoint.ts";

const folder = mkdtempSync(join(tmpdir(), "tunesmith-runs-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const base = new URL("../../examples/base-model/checkpoint", import.meta.url).pathname;
const data = join(folder, "rows.jsonl");
const rows = readFileSync(new URL("../../examples/quickstart/instructions.jsonl", import.meta.url), "utf8")
  .split("\n")
  .slice(0, 24);
writeFileSync(data, rows.join("\n"));

/** What a method needs beside its name here. */
const needed: Readonly<Record<string, object>> = {
  freeze: { trainable: ["model.layers.3.*"] },
  "new-tokens": { tokens: ["<pad>", 700] },
  "prompt-tuning": { promptTuningInit: "TEXT", promptTuningInitText: "Answer in one short sentence." },
};
/** This base has no biases. */
const unfit = new Set(["bitfit"]);

const configOf = (method: object, more: object = {}) =>
  parseRunConfig({
    ...{ model: base, data: { train: data, maxLength: 128, validationShare: 0.2 }, method, device: "cpu" },
    training: { maxSteps: 2, evalEvery: 2 },
    output: join(folder, (method as { name: string }).name),
    ...more,
  });

describe.each((methods as readonly Method[]).filter(({ name }) => !unfit.has(name)).map((method) => [method.name, method] as const))(
  "a run with %s",
  (name) => {
    it("ends, and its folder gives the model that was measured", async () => {
      const config = configOf({ name, ...needed[name] }, { samples: ["What does the bear eat?"] });
      const {
        outcome,
        base: before,
        tuned,
      } = await runTraining({ config, environment: createNodeEnvironment([]), resume: false, events: {} });
      expect(outcome.step).toBe(2);
      expect(tuned!.loss).not.toBe(before!.loss);
      const { loaded } = await openChosenModel({ model: config.output, device: "cpu" });
      const { heldOut } = await prepareRun(config, createNodeEnvironment([]));
      const engine = new SegmentedTrainingEngine({
        ...{ backend: loaded.backend, model: loaded.model, method: loaded.method, regularisers: [], store: loaded.store },
        ...{ objective: causalLm, objectiveConfig: { name: "causal-lm", labelSmoothing: 0 }, activationCheckpointing: "none" as const },
      });
      // Whole models are written in the base's bfloat16.
      const tolerance = loaded.method.adapter ? 1e-4 : 2e-2;
      expect(Math.abs((await evaluateHeldOut(engine, heldOut!.examples)).loss - tuned!.loss)).toBeLessThan(tolerance);
      const merged = mergedCheckpointFiles(loaded, openFolder(base));
      if (loaded.method.adapter && !loaded.method.adapter.merge)
        await expect(merged).rejects.toThrow(/no weights to fold it into.*--format peft/);
      else expect(Object.keys(await merged)).toContain("model.safetensors");
    });
  },
);

describe("virtual tokens in a run", () => {
  it("leave the base as it is in the comparison", async () => {
    const losses = ["lora", "prompt-tuning", "prefix-tuning"].map(
      (name) => (JSON.parse(readFileSync(join(folder, name, "results.json"), "utf8")) as { base: { loss: number } }).base.loss,
    );
    expect(losses[1]).toBeCloseTo(losses[0]!, 5);
    expect(losses[2]).toBeCloseTo(losses[0]!, 5);
    const files = ["adapter_config.json", "adapter_model.safetensors", "tunesmith.json"];
    expect(readdirSync(join(folder, "prompt-tuning", "adapter"))).toEqual(files);
  });

  it("count as positions", async () => {
    const prepare = (numVirtualTokens: number, maxLength?: number) =>
      prepareRun(
        configOf({ name: "prompt-tuning", numVirtualTokens }, { data: { train: data, ...(maxLength && { maxLength }) } }),
        createNodeEnvironment([]),
      );
    expect((await prepare(100)).maxLength).toBe(412);
    await expect(prepare(100, 450)).rejects.toThrow(
      /data.maxLength: 450 is above the model's limit of 512 positions.*of which 100 are virtual tokens/,
    );
    await expect(prepare(512)).rejects.toThrow(/method.numVirtualTokens: 512 virtual tokens leave no room in the model's 512 positions/);
  });
});

describe("the loss of routers in a run", () => {
  const mixtral = {
    ...{ model_type: "mixtral", hidden_size: 16, intermediate_size: 12, num_hidden_layers: 2, num_attention_heads: 2 },
    ...{ num_key_value_heads: 2, max_position_embeddings: 64, num_local_experts: 4, num_experts_per_tok: 2 },
    ...{ output_router_logits: true, router_aux_loss_coef: 0.3 },
  };
  const words = join(folder, "words.jsonl");
  writeFileSync(
    words,
    smallWords
      .slice(0, 8)
      .map((word) => JSON.stringify({ text: `red ${word} blue warm` }))
      .join("\n"),
  );
  const experts = (output: string, routing: object, config: Readonly<Record<string, unknown>> = mixtral) =>
    writeSmallCheckpoint(join(folder, `${output}-model`), config).then((model) =>
      configOf(
        { name: "full" },
        { model, data: { train: words, maxLength: 32 }, output: join(folder, output), training: { maxSteps: 2, ...routing } },
      ),
    );
  const coefOf = async (config: Awaited<ReturnType<typeof experts>>) =>
    (await prepareRun(config, createNodeEnvironment([]))).routerAuxLossCoef;

  it("is on where config.json asks for it, and stands in the metrics", async () => {
    const config = await experts("routed", {});
    expect(await coefOf(config)).toBe(0.3);
    await runTraining({ config, environment: createNodeEnvironment([]), resume: false, events: {} });
    const losses = parseMetrics(readFileSync(join(folder, "routed", "metrics.jsonl"), "utf8")).flatMap(({ aux_loss }) => aux_loss ?? []);
    expect(losses.length).toBe(2);
    // Two experts of each token, at best all used alike.
    for (const loss of losses) expect(loss).toBeGreaterThan(1.9);
  });

  it("follows the run's configuration before the checkpoint's", async () => {
    expect(await coefOf(await experts("routed-off", { routerAuxLossCoef: 0 }))).toBeUndefined();
    expect(await coefOf(await experts("routed-other", { routerAuxLossCoef: 0.1 }))).toBe(0.1);
    expect(await coefOf(await experts("routed-silent", {}, { ...mixtral, output_router_logits: false }))).toBeUndefined();
  });

  it("is refused where nothing routes", async () => {
    const config = configOf({ name: "lora" }, { training: { maxSteps: 2, routerAuxLossCoef: 0.01 } });
    await expect(prepareRun(config, createNodeEnvironment([]))).rejects.toThrow(
      /routerAuxLossCoef: 0.01, but a model of type llama has no experts/,
    );
  });
});
