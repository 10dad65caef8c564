/** Rows to examples and batches: formats, supervision masks, splits without leakage, packing. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import type { TokenizedExample } from "../../src/data/batch.ts";
import { makeBatches, packDocuments } from "../../src/data/batches.ts";
import { prepareDataset, readRow, type SourceRow } from "../../src/data/dataset.ts";
import type { QuestionSample } from "../../src/data/formats/format.ts";
import { questionContext } from "../../src/data/formats/question-context.ts";
import { chooseFormat } from "../../src/data/formats/registry.ts";
import { splitRows } from "../../src/data/split.ts";
import { createChatTemplate } from "../../src/data/templates/chat-template.ts";
import { tokenizeConversation } from "../../src/data/templates/tokenize-sample.ts";
import { loadTokenizer } from "../../src/data/tokenizers/tokenizer.ts";
import { readDatasetFiles } from "../../src/platform/node/dataset-files.ts";
import { openFolder } from "../../src/platform/node/files.ts";
import { sharedData, skipWithout } from "../shared-data.ts";

const tokenizer = await loadTokenizer(openFolder(resolve(import.meta.dirname, "../../examples/base-model/checkpoint")));
const folder = mkdtempSync(join(tmpdir(), "tunesmith-data-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const supervisedText = ({ inputIds, labels }: TokenizedExample): string =>
  tokenizer.decode([...inputIds].filter((_, i) => labels[i] !== -100));
const rowsOf = (rows: object[]): SourceRow[] => rows.map((row, i) => ({ row: row as SourceRow["row"], at: `row ${i}` }));

describe("formats", () => {
  it.each([
    ["alpaca", { instruction: "a", input: "", output: "b" }],
    ["messages", { messages: [{ role: "user", content: "a" }] }],
    ["sharegpt", { conversations: [{ from: "human", value: "a" }] }],
    ["prompt-completion", { prompt: "a", completion: "b" }],
    ["prompt-completion", { prompt: "a", story: "b" }],
    ["text", { text: "a" }],
  ])("%s is found", (name, row) => expect(chooseFormat("auto", [row]).name).toBe(name));

  it("says what it knows when nothing fits", () => expect(() => chooseFormat("auto", [{ foo: 1 }])).toThrow(/columns foo.*alpaca/s));
});

describe("SQuAD's own files", () => {
  const context = "The 🐻 bear eats berries.";
  const berries = { text: "berries", answer_start: 16 };
  const squad = {
    version: "v2.0",
    data: [
      {
        title: "Bears",
        paragraphs: [
          {
            context,
            qas: [
              { id: "a", question: "What does it eat?", answers: [berries], is_impossible: false },
              { id: "b", question: "What does it drink?", answers: [], plausible_answers: [berries], is_impossible: true },
            ],
          },
        ],
      },
      {
        title: "Suns",
        paragraphs: [{ context: "The sun is warm.", qas: [{ id: "c", question: "Which?", answers: [{ text: "sun", answer_start: 4 }] }] }],
      },
    ],
  };
  const write = (name: string, content: unknown): string => {
    const path = join(folder, name);
    writeFileSync(path, JSON.stringify(content));
    return path;
  };

  it("become a row for each question, with the place of an answer in JavaScript's characters", async () => {
    const path = write("squad.json", squad);
    const { rows } = await readDatasetFiles(path);
    expect(rows.map(({ at }) => at.slice(path.length))).toEqual([
      ".data[0].paragraphs[0].qas[0]",
      ".data[0].paragraphs[0].qas[1]",
      ".data[1].paragraphs[0].qas[0]",
    ]);
    const samples = rows.map((row) => readRow(questionContext, row) as QuestionSample);
    expect(samples.map(({ id, answers }) => [id, answers.length])).toEqual([
      ["a", 1],
      ["b", 0],
      ["c", 1],
    ]);
    expect(context.slice(samples[0]!.answers[0]!.start)).toBe("berries.");
  });

  it("may stand as articles on lines, and say where one is built otherwise", async () => {
    const lines = join(folder, "articles.jsonl");
    writeFileSync(lines, squad.data.map((article) => JSON.stringify(article)).join("\n"));
    expect((await readDatasetFiles(lines)).rows.at(-1)).toMatchObject({
      ...{ at: `${lines}:2.paragraphs[0].qas[0]`, row: { question: "Which?" } },
    });
    const broken = write("broken.json", { data: [{ title: "x", paragraphs: [{ text: "no context" }] }] });
    await expect(readDatasetFiles(broken)).rejects.toThrow(/broken\.json\.data\[0\]\.paragraphs\[0\] has text; expected context/);
    await expect(readDatasetFiles(write("object.json", { rows: [] }))).rejects.toThrow(
      /expected a list of rows, or an object with one under "data"/,
    );
  });

  it("say which answer stands elsewhere", async () => {
    const qas = [{ question: "What?", answers: [{ ...berries, answer_start: 3 }] }];
    const { rows } = await readDatasetFiles(write("moved.json", { data: [{ title: "Bears", paragraphs: [{ context, qas }] }] }));
    expect(() => readRow(questionContext, rows[0]!)).toThrow(/qas\[0\]: the answer "berries" does not stand at character 3/);
  });
});

describe("supervision", () => {
  const template = createChatTemplate(tokenizer.chatTemplate!, tokenizer);
  const messages = [
    { role: "user", content: "What?" },
    { role: "assistant", content: "This." },
    { role: "user", content: "And?" },
    { role: "assistant", content: "That." },
  ];
  it("is on the assistant's turns with their end", () => {
    expect(supervisedText(tokenizeConversation(messages, { tokenizer, template, lossOn: "assistant" }))).toBe(" This.</s> That.</s>");
    expect(supervisedText(tokenizeConversation(messages, { tokenizer, template, lossOn: "last-assistant" }))).toBe(" That.</s>");
  });

  it("leaves the text as the template writes it", () => {
    const { inputIds } = tokenizeConversation(messages, { tokenizer, template, lossOn: "assistant" });
    expect(tokenizer.decode([...inputIds])).toBe(template.render(messages));
  });

  it.skipIf(skipWithout("chat_templates"))("finds the answer in published templates", () => {
    const single = messages.slice(0, 2);
    const checked: string[] = [];
    for (const file of readdirSync(`${sharedData}/chat_templates`).filter((name) => name.endsWith(".jinja"))) {
      const published = createChatTemplate(readFileSync(`${sharedData}/chat_templates/${file}`, "utf8"), {
        bosToken: "<s>",
        eosToken: "</s>",
      });
      try {
        published.render(single);
      } catch {
        continue; // templates for other kinds of content
      }
      const example = (() => {
        try {
          return tokenizeConversation(single, { tokenizer, template: published, lossOn: "assistant" });
        } catch (error) {
          expect((error as Error).message).toMatch(/writes earlier turns differently/);
          return undefined;
        }
      })();
      if (!example) continue;
      expect(supervisedText(example), file).toContain("This.");
      expect(supervisedText(example), file).not.toContain("What?");
      checked.push(file);
    }
    expect(checked.length).toBeGreaterThan(20);
  });
});

describe("prepareDataset", () => {
  const options = {
    format: "auto",
    tokenizer,
    vocabSize: tokenizer.vocabSize,
    lossOn: "assistant",
    maxLength: 32,
    overlong: "truncate",
  } as const;
  it("counts what it changes", () => {
    const rows = rowsOf([
      { instruction: "Say it.", output: "yes" },
      { instruction: "Say it.", output: "word ".repeat(100) },
    ]);
    expect(prepareDataset({ ...options, rows }).report).toMatchObject({ rows: 2, examples: 2, truncated: 1 });
    expect(prepareDataset({ ...options, overlong: "drop", rows }).report).toMatchObject({ examples: 1, droppedOverlong: 1 });
    expect(() => prepareDataset({ ...options, overlong: "error", rows })).toThrow(/row 1: the row has \d+ tokens/);
  });

  it("cuts long texts into pieces and keeps every token", () => {
    const { examples } = prepareDataset({ ...options, rows: rowsOf([{ text: "the cat and the dog ".repeat(40) }]) });
    expect(examples.length).toBeGreaterThan(3);
    expect(Math.max(...examples.map(({ inputIds }) => inputIds.length))).toBe(32);
  });
});

describe("splitRows", () => {
  it("keeps equal prompts together", () => {
    const rows = rowsOf(Array.from({ length: 200 }, (_, i) => ({ instruction: `Question  ${i % 50}?`, output: `${i}` })));
    const { train, validation, test } = splitRows({ rows, validationShare: 0.2, testShare: 0.1, seed: 1 });
    const prompts = [train, validation, test].map((part) => new Set(part.map(({ row }) => row.instruction)));
    expect(prompts.map(({ size }) => size)).toEqual([35, 10, 5]);
    for (const prompt of prompts[1]!) expect(prompts[0]!.has(prompt)).toBe(false);
  });
});

describe("batches", () => {
  const examples = Array.from({ length: 40 }, (_, i) => {
    const inputIds = Int32Array.from({ length: 3 + (i % 11) }, (_unused, j) => 10 * i + j);
    return { inputIds, labels: inputIds };
  });
  it("packs every document whole, once", () => {
    const packed = packDocuments(examples, 16);
    expect(packed.flat().length).toBe(40);
    for (const documents of packed) expect(documents.reduce((sum, { inputIds }) => sum + inputIds.length, 0)).toBeLessThanOrEqual(16);
  });

  it("restarts positions and never predicts across documents", () => {
    const batches = makeBatches({
      examples,
      batchSize: 2,
      maxLength: 16,
      packing: true,
      lengthBucketing: false,
      shuffle: { seed: 1, epoch: 0 },
    });
    let targets = 0;
    for (const batch of batches) {
      batch.targetPositions.forEach((at, i) => {
        expect(batch.targetLabels[i]).toBe(batch.inputIds[at]! + 1);
        expect(batch.documentIds[at]).toBe(batch.documentIds[at + 1]);
        expect(batch.positionIds[at + 1]).toBe(batch.positionIds[at]! + 1);
      });
      targets += batch.targetLabels.length;
    }
    expect(targets).toBe(examples.reduce((sum, { inputIds }) => sum + inputIds.length - 1, 0));
  });

  it("depends on seed and epoch only", () => {
    const of = (seed: number, epoch: number) =>
      makeBatches({ examples, batchSize: 4, maxLength: 16, packing: false, lengthBucketing: true, shuffle: { seed, epoch } });
    expect(of(1, 0)).toEqual(of(1, 0));
    expect(of(1, 0)).not.toEqual(of(1, 1));
  });
});

describe("files", () => {
  it("reads CSV and Parquet through DuckDB", async () => {
    const csv = join(folder, "rows.csv");
    writeFileSync(csv, 'instruction,output\n"Say ""a"", please",a\nSay b,b\n');
    const { rows } = await readDatasetFiles(csv);
    expect(rows.map(({ row }) => row)).toEqual([
      { instruction: 'Say "a", please', output: "a" },
      { instruction: "Say b", output: "b" },
    ]);
    const { DuckDBInstance } = await import("@duckdb/node-api");
    const connection = await (await DuckDBInstance.create(":memory:")).connect();
    await connection.run(`COPY (SELECT 'hello' AS text) TO '${join(folder, "rows.parquet")}' (FORMAT parquet)`);
    connection.closeSync();
    expect((await readDatasetFiles(join(folder, "*.parquet"))).rows.map(({ row }) => row)).toEqual([{ text: "hello" }]);
  });
});
