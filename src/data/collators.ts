/** Where the head of a model reads a document, and what it should find there. */
import { ignoredLabel, type TargetTensor, type TokenizedExample } from "./batch.ts";

export interface Collator {
  /** Rows that the head reads, by their offset in the document, each with its label (any number where rows have none of their own). */
  rowsOf(example: TokenizedExample): readonly Target[];
  /** Labels and further inputs of the head, where they do not stand at rows. */
  finish?(documents: readonly CollatedDocument[]): {
    readonly labels?: readonly DocumentLabel[];
    readonly targets?: Readonly<Record<string, TargetTensor>>;
  };
}

export interface Target {
  readonly offset: number;
  readonly label: number;
}

/** A label that is about a document, counted over the batch. */
export interface DocumentLabel {
  readonly document: number;
  readonly label: number;
}

export interface CollatedDocument {
  readonly example: TokenizedExample;
  /** Rows of the head that are its own. */
  readonly rows: number;
}

/** Which tokens of a document stand for it: its first, its last, or the mean of all. */
export type Pooling = "first" | "last" | "mean" | "all";

const supervised = (labels: readonly number[]): Target[] =>
  labels.flatMap((label, offset) => (label === ignoredLabel ? [] : [{ offset, label }]));

/** Every supervised token is predicted by the one before it; a document's first token by none. */
export const nextToken: Collator = { rowsOf: ({ labels }) => supervised([...labels.subarray(1)]) };

/** Every supervised token is predicted in its own place: masked tokens, tags of words, the tokens of a decoder that starts with a token of its own. */
export const sameToken: Collator = { rowsOf: ({ labels }) => supervised([...labels]) };

export interface WholeDocumentOptions {
  readonly pools: Pooling;
  /** class: `target` is one class; values: it is one number for each label. */
  readonly target: "class" | "values";
}

/** One label for each document. */
export function wholeDocument({ pools, target }: WholeDocumentOptions): Collator {
  const classOf = (example: TokenizedExample): number => (target === "class" ? example.target![0]! : 0);
  return {
    rowsOf: (example) => pooledOffsets(example, pools).map((offset) => ({ offset, label: classOf(example) })),
    finish: (documents) => ({
      ...(pools === "mean" && { labels: documents.map(({ example }, document) => ({ document, label: classOf(example) })) }),
      targets: { ...poolingTargets(documents, pools), ...(target === "values" && { values: values(documents) }) },
    }),
  };
}

/** Offsets of the tokens that stand for a document. */
export function pooledOffsets({ inputIds: { length } }: Pick<TokenizedExample, "inputIds">, pools: Pooling): number[] {
  return pools === "first" ? [0] : pools === "last" ? [length - 1] : Array.from({ length }, (_, i) => i);
}

/** What a head that pools the mean reads; nothing for the others. */
export function poolingTargets(documents: readonly CollatedDocument[], pools: Pooling): Record<string, TargetTensor> {
  if (pools !== "mean") return {};
  const owners = documents.flatMap(({ rows }, document) => Array.from({ length: rows }, () => document));
  return {
    documentOf: { dims: [owners.length], data: Int32Array.from(owners) },
    inverseLength: { dims: [documents.length], data: Float32Array.from(documents, ({ rows }) => 1 / rows) },
  };
}

function values(documents: readonly CollatedDocument[]): TargetTensor {
  const width = documents[0]!.example.target!.length;
  return { dims: [documents.length, width], data: Float32Array.from(documents.flatMap(({ example }) => example.target!)) };
}
