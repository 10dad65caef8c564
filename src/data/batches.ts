/** Examples to batches, the same for the same seed and epoch. */
import { createRandom } from "../base/random.ts";
import { type Batch, ignoredLabel, type TokenizedExample } from "./batch.ts";

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
  /** Undefined keeps the order of the examples. */
  readonly shuffle?: { readonly seed: number; readonly epoch: number };
}

/** Lengths are padded up to a multiple of this, so that long sequences divide into chunks. */
const tokenMultiple = 8;

export function makeBatches({ examples, batchSize, maxLength, packing, lengthBucketing, shuffle }: BatchOptions): Batch[] {
  const random = shuffle && createRandom(Math.imul(shuffle.seed, 1_000_003) + shuffle.epoch);
  let sequences: TokenizedExample[][];
  if (packing) sequences = packDocuments(random ? random.shuffle([...examples]) : examples, maxLength);
  else {
    const order = random ? random.shuffle([...examples]) : [...examples];
    // A stable sort by coarse length keeps the shuffle inside each bucket.
    if (lengthBucketing) order.sort((a, b) => Math.ceil(a.inputIds.length / 32) - Math.ceil(b.inputIds.length / 32));
    sequences = order.map((example) => [example]);
  }
  const batches: Batch[] = [];
  for (let start = 0; start < sequences.length; start += batchSize) batches.push(collate(sequences.slice(start, start + batchSize)));
  return random && (lengthBucketing || packing) ? random.shuffle(batches) : batches;
}

/** Best fit: each document goes where the least room is left, longest documents first within a window of the shuffled order. */
export function packDocuments(examples: readonly TokenizedExample[], maxLength: number): TokenizedExample[][] {
  const packed: TokenizedExample[][] = [];
  const window = 1024;
  for (let start = 0; start < examples.length; start += window) {
    const open: { room: number; documents: TokenizedExample[] }[] = [];
    const longestFirst = examples.slice(start, start + window).sort((a, b) => b.inputIds.length - a.inputIds.length);
    for (const example of longestFirst) {
      const length = example.inputIds.length;
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
export function collate(sequences: readonly (readonly TokenizedExample[])[]): Batch {
  const lengths = sequences.map((documents) => documents.reduce((sum, { inputIds }) => sum + inputIds.length, 0));
  const tokens = Math.ceil(Math.max(...lengths) / tokenMultiple) * tokenMultiple;
  const size = sequences.length * tokens;
  const inputIds = new Int32Array(size);
  const positionIds = new Int32Array(size);
  const documentIds = new Int32Array(size).fill(-1);
  const targetPositions: number[] = [];
  const targetLabels: number[] = [];
  sequences.forEach((documents, b) => {
    let at = b * tokens;
    documents.forEach((document, d) => {
      document.inputIds.forEach((id, i) => {
        inputIds[at + i] = id;
        positionIds[at + i] = i;
        documentIds[at + i] = d;
        const label = document.labels[i + 1];
        if (label !== undefined && label !== ignoredLabel) {
          targetPositions.push(at + i);
          targetLabels.push(label);
        }
      });
      at += document.inputIds.length;
    });
  });
  return {
    ...{ batchSize: sequences.length, tokens, inputIds, positionIds, documentIds },
    targetPositions: Int32Array.from(targetPositions),
    targetLabels: Int32Array.from(targetLabels),
    tokenCount: lengths.reduce((sum, length) => sum + length, 0),
  };
}
