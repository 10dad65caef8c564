/** Tasks beside the next token, as a user runs them: train, what it leaves, evaluate, export; and what does not go together. */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { writeBareEncoder } from "../bare-encoder.ts";
import { runCli } from "./run-cli.ts";
import { smallBert, smallT5, words, writeSmallCheckpoint } from "./small-checkpoint.ts";

const folder = mkdtempSync(join(tmpdir(), "tunesmith-tasks-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const [bert, t5] = [join(folder, "bert"), join(folder, "t5")];
beforeAll(async () => {
  await writeSmallCheckpoint(bert, smallBert);
  await writeSmallCheckpoint(t5, smallT5);
});

const file = (name: string, rows: readonly object[]): string => {
  const path = join(folder, name);
  writeFileSync(path, rows.map((row) => JSON.stringify(row)).join("\n"));
  return path;
};
const word = (i: number): string => words[i % words.length]!;
const texts = Array.from({ length: 48 }, (_, i) => `${word(i)} ${word(7 * i + 3)} ${word(3 * i + 1)}`);
const sentiment = file(
  "sentiment.jsonl",
  texts.map((text, i) => ({ text: `${text} ${i % 2 ? "good" : "bad"}`, label: i % 2 ? "praise" : "blame" })),
);
const plain = file(
  "plain.jsonl",
  texts.map((text) => ({ text })),
);
const long = file(
  "long.jsonl",
  Array.from({ length: 4 }, (_, row) => ({ text: Array.from({ length: 48 }, (_, i) => word(row + i)).join(" ") })),
);
const reversed = file(
  "reversed.jsonl",
  texts.map((text) => ({ source: text, target: text.split(" ").reverse().join(" ") })),
);

function train(name: string, parts: { model: string; data: string; extra?: string; learningRate?: number; maxSteps?: number }) {
  writeFileSync(
    join(folder, `${name}.yaml`),
    `model: ${parts.model}
data: { train: ${parts.data}, validationShare: 0.2 }
method: { name: lora, rank: 4, targetModules: all-linear }
optimizer: { learningRate: ${parts.learningRate ?? 0.01} }
training: { maxSteps: ${parts.maxSteps ?? 30}, batchSize: 4, evalEvery: 30 }
output: ${join(folder, name)}
${parts.extra ?? ""}`,
  );
  return runCli(["train", join(folder, `${name}.yaml`), "--json"]);
}
const result = (stdout: string) => JSON.parse(stdout) as { base: Measured; tuned: Measured };
interface Measured {
  loss: number;
  metrics: Record<string, number>;
}

describe("tasks from the command line", () => {
  it("classifies with BERT, and the run comes back with its labels", async () => {
    const { code, stdout, stderr } = await train("classes", {
      model: bert,
      data: sentiment,
      learningRate: 0.003,
      maxSteps: 80,
      extra: "task: { name: sequence-classification }",
    });
    expect(stderr).not.toMatch(/error/i);
    expect(code).toBe(0);
    const { base, tuned } = result(stdout);
    expect(tuned.loss).toBeLessThan(base.loss);
    expect(tuned.metrics.eval_accuracy).toBe(1);
    const saved = JSON.parse(readFileSync(join(folder, "classes/adapter/adapter_config.json"), "utf8")) as Record<string, unknown>;
    expect(saved).toMatchObject({ task_type: "SEQ_CLS", modules_to_save: ["classifier", "bert.pooler.dense"] });
    const evaluated = await runCli(["evaluate", join(folder, "classes"), sentiment, "--json"]);
    expect((JSON.parse(evaluated.stdout) as { tuned: Record<string, number> }).tuned.eval_accuracy).toBe(1);
    const merged = join(folder, "classes-merged");
    expect((await runCli(["export", join(folder, "classes"), merged])).code).toBe(0);
    expect(JSON.parse(readFileSync(join(merged, "config.json"), "utf8"))).toMatchObject({
      ...{ architectures: ["BertForSequenceClassification"], problem_type: "single_label_classification" },
      id2label: { 0: "blame", 1: "praise" },
    });
    const again = await runCli(["evaluate", merged, sentiment, "--json"]);
    expect((JSON.parse(again.stdout) as Record<string, number>).eval_accuracy).toBe(1);
    const onnx = join(folder, "classes-onnx");
    expect((await runCli(["export", join(folder, "classes"), onnx, "--format", "onnx"])).stdout).toMatch(/onnx\/model\.onnx/);
    expect(readFileSync(join(onnx, "config.json"), "utf8")).toBe(readFileSync(join(merged, "config.json"), "utf8"));
  });

  it("fills in hidden tokens with BERT by nature", async () => {
    const { code, stdout } = await train("masked", { model: bert, data: plain });
    expect(code).toBe(0);
    const { base, tuned } = result(stdout);
    expect(tuned.loss).toBeLessThan(base.loss);
  });

  it("gives a BERT without a head one for words, says so, and finds it again", async () => {
    const bare = await writeBareEncoder(join(folder, "bare"), "bert");
    const { code, stderr } = await train("from-bare", { model: bare, data: plain });
    expect(code, stderr).toBe(0);
    expect(stderr).toMatch(/head {4}cls\.predictions\.transform\.dense\.weight, .*: not in the checkpoint, begins at random/);
    const run = join(folder, "from-bare");
    const measured = async (model: string) => (JSON.parse((await runCli(["evaluate", model, plain, "--json"])).stdout) as Measured).loss;
    const evaluated = await runCli(["evaluate", run, plain, "--json"]);
    const { base, tuned } = result(evaluated.stdout);
    expect(tuned.loss).toBeLessThan(base.loss);
    const merged = join(folder, "from-bare-merged");
    expect((await runCli(["export", run, merged])).code).toBe(0);
    expect(readFileSync(join(merged, "config.json"), "utf8")).toContain("BertForMaskedLM");
    expect(Math.abs((await measured(merged)) - tuned.loss)).toBeLessThan(1e-4);
    const onnx = await runCli(["export", run, join(folder, "from-bare-onnx"), "--format", "onnx"]);
    expect(onnx.stdout).toMatch(/onnx\/model\.onnx/);
  });

  it("turns sources into targets with T5 by nature", async () => {
    const { code, stdout } = await train("pairs", { model: t5, data: reversed });
    expect(code).toBe(0);
    const { base, tuned } = result(stdout);
    expect(tuned.loss).toBeLessThan(base.loss);
    expect(existsSync(join(folder, "pairs/report.html"))).toBe(true);
    expect(readFileSync(join(folder, "pairs/adapter/adapter_config.json"), "utf8")).toContain('"task_type": "SEQ_2_SEQ_LM"');
    const onnx = join(folder, "pairs-onnx");
    const exported = await runCli(["export", join(folder, "pairs"), onnx, "--format", "onnx"]);
    expect(exported.stdout).toMatch(/onnx\/encoder_model\.onnx, onnx\/decoder_model_merged\.onnx/);
    const config = JSON.parse(readFileSync(join(onnx, "config.json"), "utf8")) as Record<string, unknown>;
    expect(config).toMatchObject({ num_layers: 2, num_decoder_layers: 2, is_encoder_decoder: true });
  });

  it("writes the hidden spans of texts with T5, and the run is evaluated as what it was trained for", async () => {
    const { code, stdout } = await train("spans", {
      model: t5,
      data: plain,
      extra: "task: { name: span-corruption, meanNoiseSpanLength: 2 }",
    });
    expect(code).toBe(0);
    const { base, tuned } = result(stdout);
    expect(tuned.loss).toBeLessThan(base.loss);
    // Two tokens at most are hidden of three: the sentinel, the token, the end.
    const { stdout: evaluated, stderr } = await runCli(["evaluate", join(folder, "spans"), plain, "--json"]);
    expect(stderr).toContain(`text format, ${texts.length} examples, ${3 * texts.length} supervised targets`);
    expect((JSON.parse(evaluated) as { tuned: { loss: number } }).tuned.loss).toBeLessThan(base.loss);
  });

  it("makes a T5 from nothing by span corruption, and tunes it", async () => {
    writeFileSync(
      join(folder, "pretrain.yaml"),
      `pretrain:
  architecture: { model_type: t5, d_model: 16, d_kv: 8, d_ff: 32, num_layers: 2, num_heads: 2 }
  tokenizer: { vocabSize: 380 }
data: { train: ${plain}, validationShare: 0.2, maxLength: 32 }
task: { name: span-corruption }
optimizer: { learningRate: 0.01 }
training: { maxSteps: 20, batchSize: 8, evalEvery: 20 }
output: ${join(folder, "new-t5")}
`,
    );
    const made = await runCli(["pretrain", join(folder, "pretrain.yaml")]);
    expect(made.stderr).not.toMatch(/error/i);
    expect(made.code).toBe(0);
    const model = join(folder, "new-t5/model");
    const saved = JSON.parse(readFileSync(join(model, "config.json"), "utf8")) as Record<string, unknown>;
    expect(saved).toMatchObject({ architectures: ["T5ForConditionalGeneration"], decoder_start_token_id: 2 });
    const tuned = await train("new-t5-tuned", { model, data: reversed, maxSteps: 10, extra: "task: { name: seq2seq-lm }" });
    expect(tuned.code).toBe(0);
  });

  it.each([
    [
      "a head that the family does not have",
      { model: () => t5, data: sentiment, extra: "task: { name: multiple-choice }" },
      /t5 has no head for multiple-choice; it has sequence-classification, token-classification, question-answering/,
    ],
    [
      "the next token from an encoder",
      { model: () => bert, data: plain, extra: "task: { name: causal-lm }" },
      /bert sees both sides.*masked-lm/,
    ],
    [
      "hidden tokens from a decoder",
      { model: () => "examples/base-model/checkpoint", data: plain, extra: "task: { name: masked-lm }" },
      /llama sees earlier tokens only.*causal-lm/,
    ],
    [
      "pairs from a decoder",
      { model: () => "examples/base-model/checkpoint", data: reversed, extra: "task: { name: seq2seq-lm }" },
      /llama has no encoder.*causal-lm/,
    ],
    [
      "hidden spans from a decoder",
      { model: () => "examples/base-model/checkpoint", data: plain, extra: "task: { name: span-corruption }" },
      /llama has no encoder.*causal-lm for a decoder/,
    ],
    [
      "more hidden spans than there are sentinels",
      { model: () => t5, data: long, extra: "task: { name: span-corruption, meanNoiseSpanLength: 1 }" },
      /long\.jsonl:\d: 48 tokens have 7 hidden spans; the tokenizer has 3 sentinels/,
    ],
    [
      "a task that is not known",
      { model: () => bert, data: plain, extra: "task: { name: masked-ml }" },
      /task\.name: "masked-ml" is not known\. Did you mean "masked-lm"/,
    ],
    [
      "answers from a classifier",
      { model: () => bert, data: sentiment, extra: 'task: { name: sequence-classification }\nsamples: ["red"]' },
      /samples: a model for sequence-classification writes no answers/,
    ],
    [
      "labels that the rows contradict",
      { model: () => bert, data: sentiment, extra: "task: { name: sequence-classification, labels: [praise, neutral] }" },
      /task\.labels: the training rows have "blame"/,
    ],
    [
      "rows without labels",
      { model: () => bert, data: plain, extra: "task: { name: sequence-classification }" },
      /no format fits.*labelled-text/s,
    ],
  ] as const)("refuses %s", async (name, { model, data, extra }, says) => {
    const { code, stderr } = await train(name.replaceAll(" ", "-"), { model: model(), data, extra });
    expect(stderr).toMatch(says);
    expect(code).toBeGreaterThan(0);
  });

  it("names a label of the validation rows that training never saw", async () => {
    const unseen = file("unseen.jsonl", [{ text: "red", label: "prayse" }]);
    writeFileSync(
      join(folder, "unseen.yaml"),
      `model: ${bert}\ndata: { train: ${sentiment}, validation: ${unseen} }\ntask: { name: sequence-classification }\noutput: ${join(folder, "unseen")}\n`,
    );
    const { stderr } = await runCli(["train", join(folder, "unseen.yaml")]);
    expect(stderr).toMatch(/unseen\.jsonl:1: the label "prayse" does not occur in the training rows\. Did you mean "praise"/);
  });
});
