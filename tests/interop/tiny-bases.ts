/** The small checkpoints of the conformance tests with their batches, as we and as transformers take them. */
import { readFileSync } from "node:fs";
import type { Batch } from "../../src/data/batch.ts";
import { collate } from "../../src/data/batches.ts";
import { sameToken, wholeDocument } from "../../src/data/collators.ts";
import { forTask } from "../../src/methods/for-task.ts";
import type { Method } from "../../src/methods/method.ts";
import type { Model } from "../../src/models/model.ts";
import { singleLabelClassification } from "../../src/objectives/single-label-classification.ts";
import { batchOf, openTinyModel, reference } from "../conformance/tiny-model.ts";

export interface TinyBase {
  readonly folder: string;
  readonly batch: Batch;
  /** What the forward pass of transformers takes, padded to rectangles. */
  readonly inputs: Readonly<Record<string, unknown>>;
  /** For labels of whole documents, instead of the vocabulary. */
  readonly hasHead: boolean;
  readonly peftTaskType: string;
}

interface Reference {
  readonly inputIds: number[][];
  readonly tokenTypeIds?: number[][];
  readonly sourceIds: number[][];
  readonly decoderInputIds: number[][];
  readonly labels: number[][] | number[];
}

const ignored = -100;
const row = (ids: readonly number[]): Int32Array => Int32Array.from(ids);
function padded(rows: readonly (readonly number[])[], value: number): number[][] {
  const width = Math.max(...rows.map(({ length }) => length));
  return rows.map((ids) => [...ids, ...Array.from({ length: width - ids.length }, () => value)]);
}
const padding = (rows: readonly (readonly number[])[], pad: number) => ({
  input_ids: padded(rows, pad),
  attention_mask: padded(
    rows.map((ids) => ids.map(() => 1)),
    0,
  ),
});

/** @param path below tests/conformance/reference, for example `families/llama` */
export function tinyBase(path: string): TinyBase {
  const folder = `${reference}${path}`;
  const read = <T>(file: string): T => JSON.parse(readFileSync(`${folder}/${file}`, "utf8")) as T;
  const expected = read<Reference>("reference.json");
  const pad = read<{ pad_token_id?: number }>("config.json").pad_token_id ?? 0;
  const [kind] = path.split("/");
  if (kind === "encoder-decoders") return { folder, hasHead: false, peftTaskType: "SEQ_2_SEQ_LM", ...sourceToTarget(expected, pad) };
  if (kind === "label-heads") return { folder, hasHead: true, peftTaskType: "SEQ_CLS", ...labelled(expected, pad) };
  if (kind === "encoders") return { folder, hasHead: false, peftTaskType: "FEATURE_EXTRACTION", ...hiddenTokens(expected, pad) };
  const { inputIds } = expected;
  return {
    ...{ folder, hasHead: false, peftTaskType: "CAUSAL_LM", batch: batchOf(inputIds) },
    // Behind virtual tokens PEFT would predict the first token, too.
    inputs: { input_ids: inputIds, labels: inputIds.map(([, ...ids]) => [ignored, ...ids]) },
  };
}

type Rows = Pick<TinyBase, "batch" | "inputs">;

function sourceToTarget({ sourceIds, decoderInputIds, labels }: Reference, pad: number): Rows {
  const targets = labels as number[][];
  const examples = sourceIds.map((ids, i) => ({
    ...{ encoderInputIds: row(ids), inputIds: row(decoderInputIds[i]!), labels: row(targets[i]!) },
  }));
  return {
    batch: collate(
      examples.map((example) => [example]),
      sameToken,
    ),
    inputs: { ...padding(sourceIds, pad), labels: padded(targets, ignored) },
  };
}

function labelled({ inputIds, labels }: Reference, pad: number): Rows {
  const examples = inputIds.map((ids, i) => ({ inputIds: row(ids), labels: row([]), target: [labels[i] as number] }));
  return {
    batch: collate(
      examples.map((example) => [example]),
      wholeDocument({ pools: "first", target: "class" }),
    ),
    inputs: { ...padding(inputIds, pad), labels },
  };
}

function hiddenTokens({ inputIds, tokenTypeIds, labels }: Reference, pad: number): Rows {
  const targets = labels as number[][];
  const hasTypes = tokenTypeIds!.flat().some((type) => type > 0);
  const examples = inputIds.map((ids, i) => ({ inputIds: row(ids), labels: row(targets[i]!), tokenTypeIds: row(tokenTypeIds![i]!) }));
  return {
    batch: collate(
      examples.map((example) => [example]),
      sameToken,
    ),
    inputs: {
      ...{ ...padding(inputIds, pad), labels: padded(targets, ignored) },
      ...(hasTypes && { token_type_ids: padded(tokenTypeIds!, 0) }),
    },
  };
}

/** The base with a method on it, as a run opens it. */
export const openTinyBase = ({ folder, hasHead, peftTaskType }: TinyBase, { method, config }: { method: Method; config: unknown }) =>
  openTinyModel({
    folder,
    attach: (target) => forTask(method.attach(target, config), { model: target.model as Model, peftTaskType }),
    ...(hasHead && {
      head: { name: "sequence-classification", numLabels: 3 },
      objective: { objective: singleLabelClassification, config: {} },
    }),
  });
