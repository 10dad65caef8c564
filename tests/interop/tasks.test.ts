/** Classifiers, taggers and models for answers that we train, asked by Python PEFT (adapter on its base) and by transformers (merged folder): the same labels and answers with the same probabilities. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { root, runCli } from "../cli/run-cli.ts";
import { smallBert, words, writeSmallCheckpoint } from "../cli/small-checkpoint.ts";

const python = process.env.TUNESMITH_PEER_PYTHON;
if (!python) console.log("skipped: tasks in Python: TUNESMITH_PEER_PYTHON names no Python with bench/peers/requirements.txt");
const folder = mkdtempSync(join(tmpdir(), "tunesmith-interop-tasks-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const smallGpt2 = { model_type: "gpt2", architectures: ["GPT2LMHeadModel"], n_embd: 24, n_layer: 2, n_head: 3, n_positions: 64 };
const smallLlama = {
  ...{ model_type: "llama", architectures: ["LlamaForCausalLM"], hidden_size: 24, intermediate_size: 32, num_hidden_layers: 2 },
  ...{ num_attention_heads: 3, num_key_value_heads: 3, max_position_embeddings: 64, rms_norm_eps: 1e-5 },
};
const word = (i: number): string => words[i % words.length]!;
const rows = {
  "sequence-classification": Array.from({ length: 30 }, (_, i) => ({
    text: `${word(i)} ${word(3 * i)}`,
    label: ["calm", "loud", "odd"][i % 3],
  })),
  "token-classification": Array.from({ length: 30 }, (_, i) => ({ tokens: [word(i), word(3 * i)], tags: [i % 2 ? "O" : "X", "O"] })),
  "question-answering": Array.from({ length: 30 }, (_, i) => ({
    ...{ id: `${i}`, question: "six", context: `${word(i)} ${word(3 * i)} ${word(i + 5)}` },
    answers: { text: [word(i)], answer_start: [0] },
  })),
};
const text = "red sun happy";
/** Ways to ask the tuned model, and what Python is asked then. */
const asked = {
  "sequence-classification": { command: "classify", texts: [text] },
  "token-classification": { command: "classify", texts: [text] },
  "question-answering": { command: "answer", texts: ["six", text] },
} as const;

/** Further settings of a task, for texts of a few words. */
const settings: Readonly<Partial<Record<string, string>>> = { "question-answering": ", docStride: 8" };

interface Said {
  readonly probabilities?: Readonly<Record<string, number>>;
  readonly words?: readonly { readonly label: string; readonly probability: number }[];
  readonly others?: readonly Span[];
}
interface Span {
  readonly start: number;
  readonly end: number;
  readonly probability: number;
}

const withPair = ([first, pair]: readonly string[]): string[] => [first!, ...(pair === undefined ? [] : ["--pair", pair])];

/** The sum of the logits of a span's first and last token. @param logits of every token: of a special one, the question, a special one, the words of the text, a special one */
function scoreIn(logits: readonly (readonly number[])[]): (span: Span) => number {
  const wordAt = (character: number): number => text.slice(0, character).split(" ").length - 1;
  const contextStart = logits.length - 1 - text.split(" ").length;
  return ({ start, end }) => logits[contextStart + wordAt(start)]![0]! + logits[contextStart + wordAt(end)]![1]!;
}

const softmax = (logits: readonly number[]): number[] => {
  const powers = logits.map(Math.exp);
  return powers.map((power) => power / powers.reduce((sum, one) => sum + one, 0));
};

describe.skipIf(!python)("tasks in Python", () => {
  it.each([
    ["bert", smallBert, "sequence-classification"],
    ["gpt2", smallGpt2, "sequence-classification"],
    ["llama", smallLlama, "sequence-classification"],
    ["bert-tags", smallBert, "token-classification"],
    ["gpt2-tags", smallGpt2, "token-classification"],
    ["bert-answers", smallBert, "question-answering"],
    ["llama-answers", smallLlama, "question-answering"],
  ] as const)("%s", async (name, checkpoint, task) => {
    const [base, run, merged, data] = [`${name}-base`, name, `${name}-merged`, `${name}.jsonl`].map((part) => join(folder, part)) as [
      string,
      string,
      string,
      string,
    ];
    await writeSmallCheckpoint(base, checkpoint);
    writeFileSync(data, rows[task].map((row) => JSON.stringify(row)).join("\n"));
    writeFileSync(
      `${run}.yaml`,
      `model: ${base}\ndata: { train: ${data} }\ntask: { name: ${task}${settings[task] ?? ""} }\nmethod: { name: lora, rank: 4, targetModules: all-linear }\noptimizer: { learningRate: 5.0e-3 }\ntraining: { maxSteps: 8, batchSize: 4 }\noutput: ${run}\n`,
    );
    const trained = await runCli(["train", `${run}.yaml`]);
    expect(trained.code, trained.stderr).toBe(0);
    expect((await runCli(["export", run, merged])).code).toBe(0);
    const { command, texts } = asked[task];
    const said = JSON.parse((await runCli([command, run, ...texts])).stdout) as Said & Span;
    const check = (args: readonly string[]): void => {
      const output = execFileSync(
        python!,
        [join(root, "tests/interop/ask_model.py"), "--task", task, "--text", ...withPair(texts), ...args],
        {
          ...{ encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] },
        },
      );
      const { id2label, values } = JSON.parse(output.trim().split("\n").at(-1)!) as {
        id2label: Record<string, string>;
        values: number[] | number[][];
      };
      if (said.probabilities) {
        // An adapter does not carry the names of labels; their order is that of the ids.
        const ours = Object.values(said.probabilities);
        softmax(values as number[]).forEach((value, id) => expect(Math.abs(value - ours[id]!)).toBeLessThan(1e-3));
        if (!args.includes("--adapter")) expect(Object.values(id2label)).toEqual(Object.keys(said.probabilities));
      } else if (said.others) {
        const score = scoreIn(values as number[][]);
        for (const other of said.others)
          expect(Math.abs(Math.log(said.probability / other.probability) - (score(said) - score(other)))).toBeLessThan(1e-3);
      } else {
        // The first token is [CLS]; every word is one token.
        said.words!.forEach(({ probability }, i) => {
          expect(Math.abs(Math.max(...softmax((values as number[][])[i + 1]!)) - probability)).toBeLessThan(1e-3);
        });
      }
    };
    check(["--model", merged]);
    check(["--model", base, "--adapter", join(run, "adapter"), "--labels", task === "sequence-classification" ? "3" : "2"]);
  });
});
