/** Encoders, and decoders with a head for labels, as ONNX files run by onnxruntime alone: the outputs of transformers, in batches with padding on either side. */
import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { headOfCheckpoint } from "../../src/export/config-json.ts";
import { full } from "../../src/methods/full.ts";
import type { HeadChoice } from "../../src/models/label-heads.ts";
import type { LabelHeadName } from "../../src/models/model.ts";
import { openTinyModel, reference } from "../conformance/tiny-model.ts";
import { expectClose, exportModel, int64, ort, padded, rowsOf, type Session } from "./exported.ts";

interface Reference {
  inputIds: number[][];
  tokenTypeIds?: number[][];
  labels: unknown;
  /** Of each document: of every token, or one row. */
  logits: number[][][] | number[][];
}

const read = <T>(path: string): T => JSON.parse(readFileSync(path, "utf8")) as T;

async function exported(folder: string, head?: HeadChoice) {
  const opened = await openTinyModel({ folder, attach: full.attach, ...(head && { head }) });
  const { sessions, files } = await exportModel(opened, folder, { labels: { exported: true } });
  expect(Object.keys(sessions)).toEqual(["model"]);
  return { session: sessions.model!, config: JSON.parse(files["config.json"] as string) as Record<string, unknown> };
}

/** All documents at once. */
async function run(session: Session, { inputIds, tokenTypeIds }: Pick<Reference, "inputIds" | "tokenTypeIds">, side: "left" | "right") {
  const { fill, attentionMask, start } = padded(inputIds, side);
  const types = tokenTypeIds ?? inputIds.map((row) => row.map(() => 0));
  const outputs = await session.run({
    ...{ input_ids: int64(fill(inputIds)), attention_mask: int64(attentionMask) },
    ...(session.inputNames.includes("token_type_ids") && { token_type_ids: int64(fill(types)) }),
  });
  const T = attentionMask[0]!.length;
  return {
    outputs,
    /** Rows of the tokens of one document. */
    tokens: (output: string, b: number): number[][] => {
      const from = b * T + start(b);
      return rowsOf(outputs[output]!).slice(from, from + inputIds[b]!.length);
    },
  };
}

const sides = ["right", "left"] as const;

describe.each(readdirSync(`${reference}encoders`))("%s as ONNX", (name) => {
  const folder = `${reference}encoders/${name}`;
  const expected = read<Reference>(`${folder}/reference.json`);

  it.each(sides)("gives the logits of hidden tokens, padding on the %s", async (side) => {
    const { session, config } = await exported(folder);
    expect(config).not.toHaveProperty("exported");
    expect(session.inputNames.includes("token_type_ids")).toBe(Number(config.type_vocab_size ?? 0) > 1);
    expect(session.outputNames).toEqual(["logits"]);
    const { tokens } = await run(session, expected, side);
    expected.logits.forEach((rows, b) => expectClose(tokens("logits", b).flat(), (rows as number[][]).flat()));
  });
});

describe.each(readdirSync(`${reference}label-heads`))("%s as ONNX", (name) => {
  const folder = `${reference}label-heads/${name}`;
  const expected = read<Reference>(`${folder}/reference.json`);
  const given = read<{ id2label: Record<string, string> } & Record<string, unknown>>(`${folder}/config.json`);
  const head = { name: headOfCheckpoint(given) as LabelHeadName, numLabels: Object.keys(given.id2label).length };

  it.each(sides)("gives a row of logits for each document, padding on the %s", async (side) => {
    const { session, config } = await exported(folder, head);
    expect(config).toMatchObject({ exported: true, architectures: [expect.stringMatching(/ForSequenceClassification$/)] });
    const { outputs } = await run(session, expected, side);
    expect(outputs.logits!.dims).toEqual([expected.inputIds.length, head.numLabels]);
    expectClose(rowsOf(outputs.logits!).flat(), expected.logits.flat() as number[]);
  });
});

type Check = (session: Session, expected: Reference, side: "left" | "right") => Promise<void>;
interface Case {
  head(expected: Reference): HeadChoice;
  readonly check: Check;
}
const logitsOf = ({ logits }: Reference, b: number): number[] => (logits[b]! as number[][]).flat();

const cases: Readonly<Partial<Record<LabelHeadName, Case>>> = {
  "token-classification": {
    head: ({ logits }) => ({ name: "token-classification", numLabels: (logits as number[][][])[0]![0]!.length }),
    async check(session, expected, side) {
      const { tokens } = await run(session, expected, side);
      expected.inputIds.forEach((_, b) => expectClose(tokens("logits", b).flat(), logitsOf(expected, b)));
    },
  },
  "question-answering": {
    head: () => ({ name: "question-answering", numLabels: 2 }),
    async check(session, expected, side) {
      const { outputs } = await run(session, expected, side);
      const { start } = padded(expected.inputIds, side);
      expect(session.outputNames).toEqual(["start_logits", "end_logits"]);
      const [starts, ends] = [rowsOf(outputs.start_logits!), rowsOf(outputs.end_logits!)];
      expected.inputIds.forEach((ids, b) => {
        const both = ids.flatMap((_, t) => [starts[b]![start(b) + t]!, ends[b]![start(b) + t]!]);
        expectClose(both, logitsOf(expected, b));
      });
    },
  },
  "multiple-choice": {
    head: () => ({ name: "multiple-choice", numLabels: 1 }),
    async check(session, { inputIds, logits }, side) {
      const { fill, attentionMask } = padded(inputIds, side);
      const choices = (rows: number[][]) => new ort.Tensor("int64", BigInt64Array.from(rows.flat(), BigInt), [2, 2, rows[0]!.length]);
      const zeros = attentionMask.map((row) => row.map(() => 0));
      const outputs = await session.run({
        ...{ input_ids: choices(fill(inputIds)), attention_mask: choices(attentionMask) },
        ...(session.inputNames.includes("token_type_ids") && { token_type_ids: choices(zeros) }),
      });
      expect(outputs.logits!.dims).toEqual([2, 2]);
      expectClose(rowsOf(outputs.logits!).flat(), logits.flat(2));
    },
  },
  "sentence-embeddings": {
    head: ({ logits, labels }) => ({
      ...{ name: "sentence-embeddings", numLabels: logits[0]!.length, pools: labels as "first" | "last" | "mean" },
    }),
    async check(session, expected, side) {
      const { outputs, tokens } = await run(session, expected, side);
      expectClose(rowsOf(outputs.sentence_embedding!).flat(), expected.logits.flat(2));
      const states = tokens("last_hidden_state", 0);
      const [first, last] = [states[0]!, states.at(-1)!];
      const mean = first.map((_, c) => states.reduce((sum, row) => sum + row[c]! / states.length, 0));
      expectClose({ first, last, mean }[expected.labels as string]!, expected.logits[0] as number[]);
    },
  },
};

describe.each(readdirSync(`${reference}task-heads`))("%s as ONNX", (name) => {
  const folder = `${reference}task-heads/${name}`;
  const expected = read<Reference & { task: LabelHeadName }>(`${folder}/reference.json`);
  const { head, check } = cases[expected.task]!;

  it.each(sides)("says what transformers says, padding on the %s", async (side) => {
    const { session } = await exported(folder, head(expected));
    await check(session, expected, side);
  });
});
