/** Examples to batches, the same for the same seed and epoch. */
import { createRandom, type Random } from "../base/random.ts";
import type { Batch, CollatedBatch, TokenizedExample, TokenRows } from "./batch.ts";
import { type Collator, nextToken } from "./collators.ts";

export interface BatchOptions {
  readonly examples: readonly TokenizedExample[];
  /** Sequences in a batch. */
  readonly batchSize: number;
  /** Tokens in a packed sequence. */
  readonly maxLength: number;
  /** Several documents in one sequence; attention and positions stay inside each. */
  readonly packing: boolean;
  /** Without packing: batches of similar lengths, so that less is padded. */
  readonly lengthBucketing: boolean;
  /** What the head learns of a document; the next tokens where absent. */
  readonly collator?: Collator;
  /** Undefined keeps the order of the examples. */
  readonly shuffle?: { readonly seed: number; readonly epoch: number };
}

/** Lengths are padded up to a multiple of this, so that long sequences divide into chunks. */
const tokenMultiple = 8;

export function makeBatches(options: BatchOptions): CollatedBatch[] {
  const { examples, batchSize, maxLength, packing, lengthBucketing, collator, shuffle } = options;
  const random = shuffle && createRandom(Math.imul(shuffle.seed, 1_000_003) + shuffle.epoch);
  if (examples.some(({ companions }) => companions)) return makeGroupBatches(options, random);
  let sequences: TokenizedExample[][];
  if (packing) sequences = packDocuments(random ? random.shuffle([...examples]) : examples, maxLength);
  else {
    const order = random ? random.shuffle([...examples]) : [...examples];
    // A stable sort by coarse length keeps the shuffle inside each bucket.
    if (lengthBucketing) order.sort((a, b) => Math.ceil(lengthOf(a) / 32) - Math.ceil(lengthOf(b) / 32));
    sequences = order.map((example) => [example]);
  }
  const batches: CollatedBatch[] = [];
  for (let start = 0; start < sequences.length; start += batchSize)
    batches.push(collate(sequences.slice(start, start + batchSize), collator));
  if (!random || batches.length === 0) return batches;
  return largestFirst(lengthBucketing || packing ? random.shuffle(batches) : batches);
}

/**
 * The largest batch of an epoch takes the place of the first. Memory is then taken once, in the sizes that all later batches fit in, and a
 * run that has too little of it fails at its first step.
 */
function largestFirst(batches: readonly CollatedBatch[]): CollatedBatch[] {
  const largest = largestOf(batches);
  const [first] = batches;
  return batches.map((batch) => (batch === first ? largest : batch === largest ? first! : batch));
}

/** Places for tokens, those of padding included. */
export const sizeOf = ({ batchSize, tokens, encoder }: Pick<Batch, "batchSize" | "tokens" | "encoder">): number =>
  batchSize * Math.max(tokens, encoder?.tokens ?? 0);

/** The first of those with most places. */
export const largestOf = <Of extends Pick<Batch, "batchSize" | "tokens" | "encoder">>(batches: readonly Of[]): Of =>
  batches.reduce((largest, batch) => (sizeOf(batch) > sizeOf(largest) ? batch : largest));

/** Documents that belong together stay in one batch, which then holds `batchSize` examples in as many sequences as they need. */
function makeGroupBatches(
  { examples, batchSize, maxLength, packing, collator }: BatchOptions,
  random: Random | undefined,
): CollatedBatch[] {
  const order = random ? random.shuffle([...examples]) : examples;
  return Array.from({ length: Math.ceil(order.length / batchSize) }, (_, i) => {
    const documents = order.slice(i * batchSize, (i + 1) * batchSize).flatMap(documentsOf);
    return collate(packing ? packDocuments(documents, maxLength) : documents.map((document) => [document]), collator);
  });
}

/** An example and what belongs to it. */
export const documentsOf = (example: TokenizedExample): TokenizedExample[] => [example, ...(example.companions ?? [])];

/** Tokens in the longer of its two rows, where an encoder reads one of its own. */
export const lengthOf = ({ inputIds, encoderInputIds }: TokenizedExample): number =>
  Math.max(inputIds.length, encoderInputIds?.length ?? 0);

/** Best fit: each document goes where the least room is left, longest documents first within a window of the shuffled order. */
export function packDocuments(examples: readonly TokenizedExample[], maxLength: number): TokenizedExample[][] {
  const packed: TokenizedExample[][] = [];
  const window = 1024;
  for (let start = 0; start < examples.length; start += window) {
    const open: { room: number; documents: TokenizedExample[] }[] = [];
    const longestFirst = examples.slice(start, start + window).sort((a, b) => lengthOf(b) - lengthOf(a));
    for (const example of longestFirst) {
      const length = lengthOf(example);
      let best: (typeof open)[number] | undefined;
      for (const sequence of open) if (sequence.room >= length && (!best || sequence.room < best.room)) best = sequence;
      if (!best) {
        best = { room: maxLength, documents: [] };
        open.push(best);
      }
      best.documents.push(example);
      best.room -= length;
    }
    packed.push(...open.map(({ documents }) => documents));
  }
  return packed;
}

/** One batch from sequences of documents, padded at the end. */
export function collate(sequences: readonly (readonly TokenizedExample[])[], collator: Collator = nextToken): CollatedBatch {
  const main = layOut(sequences, ({ inputIds, tokenTypeIds }) => ({ inputIds, tokenTypeIds }));
  const reads = sequences.flat().some(({ encoderInputIds }) => encoderInputIds !== undefined);
  const encoder = reads ? layOut(sequences, ({ encoderInputIds }) => ({ inputIds: encoderInputIds! })) : undefined;
  const documents = sequences.flat();
  const rows = documents.map((example) => collator.rowsOf(example));
  const documentOfRow = Int32Array.from(rows.flatMap((own, d) => own.map(() => d)));
  const { labels, targets } = collator.finish?.(documents.map((example, d) => ({ example, rows: rows[d]!.length }))) ?? {};
  return {
    ...main.rows,
    ...(encoder && { encoder: encoder.rows }),
    batchSize: sequences.length,
    targetPositions: Int32Array.from(rows.flatMap((own, d) => own.map(({ offset }) => main.starts[d]! + offset))),
    targetLabels: Int32Array.from(labels ? labels.map(({ label }) => label) : rows.flatMap((own) => own.map(({ label }) => label))),
    ...(targets && { targets }),
    tokenCount: main.tokenCount + (encoder?.tokenCount ?? 0),
    ...{ documents, documentOfRow },
    documentOfLabel: labels ? Int32Array.from(labels, ({ document }) => document) : documentOfRow,
  };
}

interface Tokens {
  readonly inputIds: Int32Array;
  readonly tokenTypeIds?: Int32Array | undefined;
}

/** Documents side by side in rows of equal length. `starts` says where each begins, flat over all rows. */
function layOut(sequences: readonly (readonly TokenizedExample[])[], tokensOf: (example: TokenizedExample) => Tokens) {
  const lengths = sequences.map((documents) => documents.reduce((sum, example) => sum + tokensOf(example).inputIds.length, 0));
  const tokens = Math.ceil(Math.max(...lengths) / tokenMultiple) * tokenMultiple;
  const size = sequences.length * tokens;
  const inputIds = new Int32Array(size);
  const positionIds = new Int32Array(size);
  const documentIds = new Int32Array(size).fill(-1);
  let tokenTypeIds: Int32Array | undefined;
  const starts: number[] = [];
  sequences.forEach((documents, b) => {
    let at = b * tokens;
    documents.forEach((document, d) => {
      const own = tokensOf(document);
      starts.push(at);
      inputIds.set(own.inputIds, at);
      own.inputIds.forEach((_, i) => {
        positionIds[at + i] = i;
        documentIds[at + i] = d;
      });
      if (own.tokenTypeIds) {
        tokenTypeIds ??= new Int32Array(size);
        tokenTypeIds.set(own.tokenTypeIds, at);
      }
      at += own.inputIds.length;
    });
  });
  const rows: TokenRows = { tokens, inputIds, positionIds, documentIds, ...(tokenTypeIds && { tokenTypeIds }) };
  return { rows, starts, tokenCount: lengths.reduce((sum, length) => sum + length, 0) };
}
