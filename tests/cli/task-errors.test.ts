/** Wrong input of tasks and methods, through the real command: what is wrong, where, and what to do. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { runCli } from "./run-cli.ts";
import { smallBert, smallT5, words, writeSmallCheckpoint } from "./small-checkpoint.ts";

const folder = mkdtempSync(join(tmpdir(), "tunesmith-task-errors-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const [bert, t5, gpt2, modernbert, threeLabels] = ["bert", "t5", "gpt2", "modernbert", "three"].map((name) => join(folder, name)) as [
  string,
  string,
  string,
  string,
  string,
];
const smallModernBert = {
  ...{ model_type: "modernbert", architectures: ["ModernBertForMaskedLM"], hidden_size: 24, num_hidden_layers: 2 },
  ...{ num_attention_heads: 3, intermediate_size: 32, max_position_embeddings: 64 },
};
const smallGpt2 = { model_type: "gpt2", architectures: ["GPT2LMHeadModel"], n_embd: 24, n_layer: 2, n_head: 3, n_positions: 64 };

let count = 0;
function rowsFile(rows: readonly object[]): string {
  const file = join(folder, `rows-${++count}.jsonl`);
  writeFileSync(file, rows.map((row) => JSON.stringify(row)).join("\n"));
  return file;
}
function train({ model, data, extra }: { model: string; data: string; extra: string }) {
  const run = join(folder, `run-${++count}`);
  writeFileSync(`${run}.yaml`, `model: ${model}\ndata: { train: ${data} }\n${extra}\ntraining: { maxSteps: 1 }\noutput: ${run}\n`);
  return { run, ended: runCli(["train", `${run}.yaml`]) };
}

const twenty = Array.from({ length: 20 }, (_, i) => i);
const plain = rowsFile(twenty.map((i) => ({ text: `${words[i]} ${words[(3 * i) % 20]}` })));
const labelled = (names: readonly string[]): string =>
  rowsFile(twenty.map((i) => ({ text: `${words[i]} ${words[(3 * i) % 20]}`, label: names[i % names.length] })));
const pairs = rowsFile(twenty.map((i) => ({ source: words[i], target: words[19 - i] })));
/** The fourth row is another than its neighbours. */
const questions = (wrong: object): string =>
  rowsFile(
    twenty.map((i) => ({
      ...{ question: words[i], context: "red green blue" },
      answers: i === 3 ? wrong : { text: ["green"], answer_start: [4] },
    })),
  );
const choices = (wrong: unknown): string =>
  rowsFile(twenty.map((i) => ({ question: "six", choices: ["red", "green", "blue"], answer: i === 3 ? wrong : i % 3 })));

const classify = "task: { name: sequence-classification }";
const answer = "task: { name: question-answering, docStride: 8 }";
const choose = "task: { name: multiple-choice }";

beforeAll(async () => {
  for (const [path, config] of [
    [bert, smallBert],
    [t5, smallT5],
    [gpt2, smallGpt2],
    [modernbert, smallModernBert],
  ] as const)
    await writeSmallCheckpoint(path, config);
  const { run, ended } = train({ model: bert, data: labelled(["calm", "loud", "odd"]), extra: classify });
  expect((await ended).code).toBe(0);
  expect((await runCli(["export", run, threeLabels])).code).toBe(0);
});

interface Wrong {
  readonly model: string;
  readonly data: string;
  readonly extra: string;
  readonly says: RegExp;
  /** 2 where the configuration is wrong, 1 where data or files are. */
  readonly code: 1 | 2;
}

const cases: Readonly<Record<string, Wrong>> = {
  "more labels than the checkpoint's head": {
    ...{ model: threeLabels, data: labelled(["calm", "loud", "odd", "new"]), extra: classify, code: 1 },
    says: /the head is for 3 labels \(classifier\.weight is \[3, 24\]\); the task sequence-classification has 4\. .*task\.labels/,
  },
  "fewer labels than the checkpoint's head": {
    ...{ model: threeLabels, data: labelled(["calm", "loud"]), code: 1 },
    extra: "task: { name: sequence-classification, labels: [calm, loud] }",
    says: /the head is for 3 labels .*; the task sequence-classification has 2\./,
  },
  "a head for another task, with other labels": {
    ...{ model: threeLabels, extra: "task: { name: token-classification }", code: 1 },
    data: rowsFile(twenty.map((i) => ({ tokens: [words[i], "red"], ner_tags: ["O", i % 2 ? "B-X" : "O"] }))),
    says: /the head is for 3 labels .*; the task token-classification has 2\. .*start from the model without this head/,
  },
  "an answer that stands elsewhere": {
    ...{ model: bert, data: questions({ text: ["green"], answer_start: [5] }), extra: answer, code: 1 },
    says: /rows-\d+\.jsonl:4: the answer "green" does not stand at character 5 of the context, which has 14; it stands at 4\. Correct answer_start/,
  },
  "an answer behind the context": {
    ...{ model: bert, data: questions({ text: ["green"], answer_start: [400] }), extra: answer, code: 1 },
    says: /jsonl:4: the answer "green" does not stand at character 400 of the context, which has 14/,
  },
  "an answer_start from the end": {
    ...{ model: bert, data: questions({ text: ["green"], answer_start: [-10] }), extra: answer, code: 1 },
    says: /jsonl:4: the answer "green" does not stand at character -10 .*; it stands at 4/,
  },
  "an answer that stands nowhere": {
    ...{ model: bert, data: questions({ text: ["seven"], answer_start: [4] }), extra: answer, code: 1 },
    says: /jsonl:4: the answer "seven" does not stand at character 4 .*; it stands nowhere in it, word for word/,
  },
  "windows that share more than they hold": {
    ...{ model: bert, data: questions({ text: ["green"], answer_start: [4] }), code: 2 },
    extra: "task: { name: question-answering, docStride: 128 }",
    says: /error: task\.docStride: 128 is not smaller than the 60 tokens of context that data\.maxLength 64 leaves/,
  },
  "a choice behind the last": {
    ...{ model: bert, data: choices(3), extra: choose, code: 1 },
    says: /error: \S+rows-\d+\.jsonl:4: the answer "3" is none of the 3 choices; expected an index from 0 to 2/,
  },
  "a choice before the first": {
    ...{ model: bert, data: choices(-1), extra: choose, code: 1 },
    says: /jsonl:4: the answer "-1" is none of the 3 choices/,
  },
  "a letter behind the last choice": {
    ...{ model: bert, data: choices("D"), extra: choose, code: 1 },
    says: /jsonl:4: the answer "D" is none of the 3 choices; .*a letter from A, or the text of a choice/,
  },
  "choices for a family that writes": {
    ...{ model: gpt2, data: choices(0), extra: choose, code: 1 },
    says: /gpt2 has no head for multiple-choice; it has sequence-classification, .*Choose another task, or a model of another family/,
  },
  "choices for an encoder-decoder": {
    ...{ model: t5, data: choices(0), extra: choose, code: 1 },
    says: /t5 has no head for multiple-choice; it has sequence-classification, token-classification, question-answering\. Choose another task/,
  },
  "the next token from ModernBERT": {
    ...{ model: modernbert, data: plain, extra: "task: { name: causal-lm }", code: 1 },
    says: /modernbert sees both sides.*masked-lm/,
  },
  "pairs from ModernBERT": {
    ...{ model: modernbert, data: pairs, extra: "task: { name: seq2seq-lm }", code: 1 },
    says: /modernbert has no encoder/,
  },
  "a prefix as long as the context": {
    ...{ model: gpt2, data: plain, extra: "method: { name: prefix-tuning, numVirtualTokens: 64 }", code: 2 },
    says: /method\.numVirtualTokens: 64 virtual tokens leave no room in the model's 64 positions/,
  },
  "a prefix longer than an encoder-decoder's context": {
    ...{ model: t5, data: pairs, extra: "method: { name: prefix-tuning, numVirtualTokens: 600 }", code: 2 },
    says: /method\.numVirtualTokens: 600 virtual tokens leave no room in the model's 512 positions/,
  },
  "a prompt that leaves no room for a text": {
    ...{ model: bert, data: labelled(["calm", "loud"]), code: 2 },
    extra: `${classify}\nmethod: { name: prompt-tuning, numVirtualTokens: 62 }`,
    says: /data\.maxLength: 2 leaves no room for a text beside 2 special tokens\. Raise it, or train fewer virtual tokens/,
  },
  "a prompt that leaves no room for hidden tokens": {
    ...{ model: bert, data: plain, code: 2 },
    extra: "task: { name: masked-lm }\nmethod: { name: prompt-tuning, numVirtualTokens: 62 }",
    says: /data\.maxLength: 2 leaves no room for/,
  },
  "a rank above the matrix of an encoder": {
    ...{ model: bert, data: labelled(["calm", "loud"]), extra: `${classify}\nmethod: { name: lora, rank: 25 }`, code: 2 },
    says: /method\.rank: 25 is above the size of bert\.encoder\.layer\.0\.attention\.self\.query \[24, 24\]; choose at most 24/,
  },
  "a rank of a pattern above the matrix": {
    ...{ model: modernbert, data: plain, extra: "method: { name: lora, rank: 4, rankPattern: { Wqkv: 30 } }", code: 2 },
    says: /method\.rankPattern: 30 is above the size of model\.layers\.0\.attn\.Wqkv \[72, 24\]; choose at most 24/,
  },
};

describe("errors of tasks and methods", () => {
  it.each(Object.keys(cases))("%s", async (name) => {
    const { says, code, ...run } = cases[name]!;
    const result = await train(run).ended;
    expect(result.stderr).toMatch(says);
    expect(result.code).toBe(code);
    expect(result.stderr).not.toMatch(/\n\s+at /);
  });
});
