/** Labels, tags and answers from a small random T5 and a Llama as a user gets them: train, ask, and export under the names of transformers' classes. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openSafetensors } from "../../src/models/weights/safetensors.ts";
import { openFolder } from "../../src/platform/node/files.ts";
import { runCli } from "./run-cli.ts";
import { smallT5, words, writeSmallCheckpoint } from "./small-checkpoint.ts";

const folder = mkdtempSync(join(tmpdir(), "tunesmith-encoder-decoder-labels-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const smallLlama = {
  ...{ model_type: "llama", architectures: ["LlamaForCausalLM"], hidden_size: 24, intermediate_size: 32, num_hidden_layers: 2 },
  ...{ num_attention_heads: 3, num_key_value_heads: 3, max_position_embeddings: 64 },
};
beforeAll(async () => {
  await writeSmallCheckpoint(join(folder, "t5"), smallT5);
  await writeSmallCheckpoint(join(folder, "llama"), smallLlama);
});

const colours = words.slice(0, 3);
const others = words.slice(3);
const isColour = (one: string): boolean => colours.includes(one);
const sentences = Array.from({ length: 48 }, (_, i) =>
  Array.from({ length: 4 }, (_, k) => (k === i % 4 ? colours[i % 3]! : others[(5 * i + 3 * k) % others.length]!)),
);
const startOf = (text: string[]): number => text.slice(0, text.findIndex(isColour)).reduce((sum, one) => sum + one.length + 1, 0);
const rowsOf = {
  "sequence-classification": sentences.map((tokens) => ({ text: tokens.join(" "), label: tokens.find(isColour) })),
  "token-classification": sentences.map((tokens) => ({ tokens, ner_tags: tokens.map((one) => (isColour(one) ? "B-COLOUR" : "O")) })),
  "question-answering": sentences.map((tokens, i) => ({
    ...{ id: `q${i}`, question: "six", context: tokens.join(" ") },
    answers: { text: [tokens.find(isColour)], answer_start: [startOf(tokens)] },
  })),
};

const ok = async (args: readonly string[]): Promise<string> => {
  const { code, stdout, stderr } = await runCli(args);
  expect(code, stderr).toBe(0);
  return stdout;
};

interface Case {
  readonly stem: string;
  readonly model: "t5" | "llama";
  readonly task: keyof typeof rowsOf;
  readonly settings?: string;
  readonly ask: readonly string[];
  readonly says?: object;
  /** `modules_to_save` of the adapter. */
  readonly saved: string;
  /** In the exported weights. */
  readonly names: readonly string[];
}
const answers = { task: "question-answering", saved: "qa_outputs", settings: ", docStride: 2, maxAnswerLength: 4" } as const;
const askAnswer = ["answer", "six", "warm cold blue rain", "--max-length", "24"];
const cases: readonly Case[] = [
  {
    ...{ stem: "T5ForSequenceClassification", model: "t5", task: "sequence-classification" },
    ...{ ask: ["classify", "warm cold blue rain"], says: { label: "blue" } },
    saved: "classification_head",
    names: ["transformer.decoder.final_layer_norm.weight", "classification_head.out_proj.weight"],
  },
  {
    ...{ stem: "T5ForTokenClassification", model: "t5", task: "token-classification", ask: ["classify", "warm blue"] },
    says: { words: [expect.objectContaining({ label: "O" }), expect.objectContaining({ label: "B-COLOUR" })] },
    saved: "classifier",
    names: ["transformer.encoder.final_layer_norm.weight", "classifier.weight"],
  },
  {
    ...{ stem: "T5ForQuestionAnswering", model: "t5", ...answers, ask: askAnswer },
    names: ["decoder.final_layer_norm.weight", "qa_outputs.weight"],
  },
  {
    ...{ stem: "LlamaForQuestionAnswering", model: "llama", ...answers, ask: askAnswer },
    names: ["transformer.norm.weight", "qa_outputs.weight"],
  },
];

describe("labels from the command line", () => {
  it.each(cases)("$stem", async ({ model, task, settings = "", ask, says = {}, stem, saved, names }) => {
    const run = join(folder, stem);
    const [merged, onnx, data] = [`${run}-merged`, `${run}-onnx`, `${run}.jsonl`];
    writeFileSync(data, rowsOf[task].map((row) => JSON.stringify(row)).join("\n"));
    writeFileSync(
      `${run}.yaml`,
      `model: ${join(folder, model)}
data: { train: ${data}, packing: true, maxLength: 24 }
task: { name: ${task}${settings} }
method: { name: lora, rank: 8, targetModules: all-linear }
optimizer: { learningRate: 0.02 }
training: { maxSteps: ${task === "question-answering" ? 5 : 40}, batchSize: 8 }
output: ${run}
`,
    );
    await ok(["train", `${run}.yaml`]);
    const said = JSON.parse(await ok([ask[0]!, run, ...ask.slice(1)])) as Record<string, unknown>;
    expect(said).toMatchObject(says);

    const adapter = JSON.parse(readFileSync(join(run, "adapter/adapter_config.json"), "utf8")) as object;
    expect(adapter).toMatchObject({ modules_to_save: [saved] });

    await ok(["export", run, merged]);
    expect(JSON.parse(readFileSync(join(merged, "config.json"), "utf8"))).toMatchObject({ architectures: [stem] });
    const { tensors } = await openSafetensors(await openFolder(merged).open("model.safetensors"));
    expect([...tensors.keys()]).toEqual(expect.arrayContaining([...names]));
    expect([...tensors.keys()].some((name) => name.includes("decoder"))).toBe(model === "t5" && task !== "token-classification");
    expect(await ok(["export", merged, onnx, "--format", "onnx"])).toMatch(/onnx\/model\.onnx/);
    if (task === "question-answering") return;
    expect(JSON.parse(await ok([ask[0]!, merged, ...ask.slice(1)]))).toMatchObject(says);
  });
});
