/** Heads over tokens, spans, choices and embeddings against transformers and sentence-transformers: logits, loss, gradients and an AdamW step, documents in rows of their own and packed into one. */
import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import type { TokenizedExample } from "../../src/data/batch.ts";
import { collate, documentsOf } from "../../src/data/batches.ts";
import { type Collator, type Pooling, sameToken } from "../../src/data/collators.ts";
import { anchorWithCandidates, choiceOf } from "../../src/data/group-collators.ts";
import { answerSpan as spans } from "../../src/data/span-collator.ts";
import { full } from "../../src/methods/full.ts";
import type { LabelHeadName } from "../../src/models/model.ts";
import { answerSpan } from "../../src/objectives/answer-span.ts";
import { multipleChoice } from "../../src/objectives/multiple-choice.ts";
import { multipleNegativesRanking } from "../../src/objectives/multiple-negatives-ranking.ts";
import type { LabelObjective } from "../../src/objectives/objective.ts";
import { singleLabelClassification } from "../../src/objectives/single-label-classification.ts";
import { asHeadReads } from "../../src/tasks/shifted-documents.ts";
import { expectSummary, type Summary } from "./expect-summary.ts";
import { openTinyModel, reference } from "./tiny-model.ts";

interface Reference {
  task: LabelHeadName;
  inputIds: number[][];
  labels: unknown;
  loss: number;
  /** Of each document: of every token, or one row. */
  logits: (number[][] | number[])[];
  gradients: Record<string, Summary>;
  lossAfterStep: number;
  optimizer: { learningRate: number; weightDecay: number; epsilon: number };
}

interface Config {
  /** In config.json of families that leave it open. */
  classifier_pooling?: string;
}

interface Case {
  readonly head: { readonly name: LabelHeadName; readonly numLabels: number; readonly pools?: Pooling };
  readonly objective: LabelObjective;
  readonly collator: Collator;
  readonly examples: readonly TokenizedExample[];
  /** Logits that the objective passes on, in its order. */
  readonly predictions: readonly number[];
}

const document = (ids: readonly number[], more: Partial<TokenizedExample> = {}): TokenizedExample => ({
  ...{ inputIds: Int32Array.from(ids), labels: new Int32Array(0) },
  ...more,
});
const pairs = <Item>(items: readonly Item[]): (readonly [Item, Item])[] =>
  items.flatMap((item, i) => (i % 2 === 0 ? [[item, items[i + 1]!] as const] : []));

const cases: Readonly<Partial<Record<LabelHeadName, (expected: Reference, config: Config) => Case>>> = {
  "token-classification": ({ inputIds, labels, logits }) => {
    const tags = labels as number[][];
    return {
      head: { name: "token-classification", numLabels: (logits[0] as number[][])[0]!.length },
      ...{ objective: singleLabelClassification, collator: sameToken },
      examples: inputIds.map((ids, d) => document(ids, { labels: Int32Array.from(tags[d]!) })),
      predictions: logits.flatMap((rows, d) => (rows as number[][]).filter((_, i) => tags[d]![i] !== -100)).flat(),
    };
  },
  "question-answering": ({ inputIds, labels, logits }) => ({
    head: { name: "question-answering", numLabels: 2 },
    ...{ objective: answerSpan, collator: spans },
    examples: inputIds.map((ids, d) => document(ids, { target: (labels as number[][])[d]! })),
    predictions: (logits as number[][][]).flat(2),
  }),
  "multiple-choice": ({ inputIds, labels, logits }, { classifier_pooling }) => ({
    head: { name: "multiple-choice", numLabels: 1 },
    ...{ objective: multipleChoice, collator: choiceOf(classifier_pooling === "mean" ? "mean" : "first") },
    examples: pairs(inputIds).map(([a, b], q) => document(a, { companions: [document(b)], target: [(labels as number[])[q]!] })),
    predictions: (logits as number[][]).flat(),
  }),
  "sentence-embeddings": ({ inputIds, labels, logits }) => ({
    head: { name: "sentence-embeddings", numLabels: logits[0]!.length, pools: labels as Pooling },
    ...{ objective: multipleNegativesRanking, collator: anchorWithCandidates(labels as Pooling) },
    examples: pairs(inputIds).map(([a, b]) => document(a, { companions: [document(b)] })),
    predictions: (logits as number[][]).flat(),
  }),
};

describe.each(readdirSync(`${reference}task-heads`))("%s", (name) => {
  const folder = `${reference}task-heads/${name}`;
  const expected = JSON.parse(readFileSync(`${folder}/reference.json`, "utf8")) as Reference;
  const { learningRate, weightDecay, epsilon } = expected.optimizer;
  const config = JSON.parse(readFileSync(`${folder}/config.json`, "utf8")) as Config;
  const { head, objective, collator, examples, predictions } = cases[expected.task]!(expected, config);
  const documents = examples.flatMap(documentsOf);

  it.each([
    ["in rows of their own", documents.map((one) => [one])],
    ["packed into one row", [documents]],
  ])("agrees, documents %s", async (_, sequences) => {
    const { engine, store, model } = await openTinyModel({
      ...{ folder, head, attach: full.attach, optimizer: { learningRate, weightDecay, epsilon } },
      objective: { objective, config: {} },
    });
    const batch = collate(
      sequences.map((documents) => documents.map((document) => asHeadReads(document, model.labelHead!))),
      collator,
    );
    const before = await engine.evaluate(batch);
    expect(before.predictions!.length).toBe(predictions.length);
    predictions.forEach((logit, i) => expect(Math.abs(before.predictions![i]! - logit)).toBeLessThan(1e-4));
    const { lossSum, tokens } = await engine.accumulate(batch, { gradientScale: 1 / batch.targetLabels.length, seed: 0 });
    expect(Math.abs(lossSum / tokens - expected.loss)).toBeLessThan(1e-5);
    for (const [parameter, summary] of Object.entries(expected.gradients)) {
      const found = [...store.parameters.keys()].find((key) => key === parameter || key.endsWith(`.${parameter}`))!;
      expectSummary(parameter, store.parameters.get(found)!.gradient!, summary, 1e-4);
    }
    await engine.update({ learningRate, step: 1, gradientScale: 1 });
    const after = await engine.evaluate(batch);
    expect(Math.abs(after.lossSum / after.tokens - expected.lossAfterStep)).toBeLessThan(1e-4);
  });
});
