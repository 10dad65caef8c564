/**
 * The most likely predictions of a teacher for every supervised token, made once and kept in a file, so that training
 * needs neither the teacher nor its logits. A row of the file belongs to one target: the ids of its k likeliest tokens,
 * their probabilities, the mass of all other tokens, and sum p log p over these k + 1.
 */
import type { Backend, HostTensor } from "../backends/backend.ts";
import type { ByteSource } from "../base/byte-source.ts";
import { largestFirst } from "../base/largest-first.ts";
import type { Batch, TokenizedExample } from "../data/batch.ts";
import { collate } from "../data/batches.ts";
import { bytesOf } from "../models/weights/element-types.ts";
import { encodeSafetensors, openSafetensors, type TensorToWrite } from "../models/weights/safetensors.ts";
import { Graph } from "../tensor/graph.ts";
import { logSumExp, mul, reshape, sub } from "../tensor/ops/index.ts";
import { dim } from "../tensor/shape.ts";
import { gatherRows } from "./gather-rows.ts";
import { buildReferenceLogits, referenceInputs } from "./reference-model.ts";
import type { ReferencePass } from "./reference-pass.ts";

export interface TopSettings {
  /** 1 to the size of the vocabulary. */
  readonly k: number;
  /** Divides the logits. */
  readonly temperature: number;
}

/** Rows of n targets. */
export interface TopRows {
  /** [n * k]. */
  readonly ids: Int32Array;
  /** [n * k]. */
  readonly probabilities: Float32Array;
  /** [n]: mass of all other tokens. */
  readonly rest: Float32Array;
  /** [n]: sum p log p, at most 0. */
  readonly negativeEntropy: Float32Array;
}

export interface TopPredictions {
  readonly k: number;
  /** @returns for each target of a batch the number of its row. Documents are known by their tokens, wherever a batch puts them. */
  numbersOf(batch: Batch): Int32Array;
  read(numbers: Int32Array): Promise<TopRows>;
}

/** Where the targets of every document stand in the file. */
export interface TopIndex {
  readonly targets: number;
  readonly firstOf: ReadonlyMap<string, number>;
}

/** Documents in their order; the second of two equal ones is left out. */
export function indexDocuments(examples: readonly TokenizedExample[]): { index: TopIndex; documents: readonly TokenizedExample[] } {
  const firstOf = new Map<string, number>();
  const documents: TokenizedExample[] = [];
  let targets = 0;
  for (const example of examples) {
    const batch = collate([[example]]);
    const [key] = documentsOf(batch).map(({ key }) => key);
    if (key === undefined || firstOf.has(key)) continue;
    firstOf.set(key, targets);
    documents.push(example);
    targets += batch.targetPositions.length;
  }
  return { index: { targets, firstOf }, documents };
}

const columns = (k: number): number => 2 * k + 2;

/** Runs the teacher over documents and yields a safetensors file, one tensor [n, 2k + 2] for each batch. */
export function encodeTopPredictions({
  pass,
  backend,
  settings,
  documents,
  tokensAtOnce,
}: {
  pass: ReferencePass;
  backend: Backend;
  settings: TopSettings;
  documents: readonly TokenizedExample[];
  tokensAtOnce: number;
}): AsyncGenerator<Uint8Array> {
  const head = compileHead(pass, { backend, temperature: settings.temperature });
  const tensors = new Map<string, TensorToWrite>();
  for (const [i, group] of inGroups(documents, tokensAtOnce).entries()) {
    const shape = [collate([group]).targetPositions.length, columns(settings.k)];
    const read = async (): Promise<Uint8Array> => bytesOf(await predictTop(collate([group]), { pass, head: await head, settings }));
    tensors.set(String(i), { dtype: "F32", shape, read });
  }
  return encodeSafetensors(tensors, { format: "tunesmith" });
}

function inGroups(documents: readonly TokenizedExample[], tokensAtOnce: number): TokenizedExample[][] {
  const groups: TokenizedExample[][] = [];
  let room = 0;
  for (const document of documents) {
    const { length } = document.inputIds;
    if (length > room) {
      groups.push([]);
      room = Math.max(tokensAtOnce, length);
    }
    groups.at(-1)!.push(document);
    room -= length;
  }
  return groups;
}

type Head = Awaited<ReturnType<typeof compileHead>>;

/** referenceRows [N, C] -> log probabilities [N, V]. */
async function compileHead({ reference }: ReferencePass, { backend, temperature }: { backend: Backend; temperature: number }) {
  const graph = new Graph();
  const logits = mul(buildReferenceLogits(reference, graph), 1 / temperature);
  graph.output("logProbabilities", sub(logits, reshape(logSumExp(logits), [dim("rows"), 1])));
  return { executable: await backend.compile(graph, { name: "teacher's head" }), parameters: referenceInputs(reference, graph) };
}

/** Rows of the teacher's head in one call. */
const rowsAtOnce = 128;

async function predictTop(
  batch: Batch,
  { pass, head, settings }: { pass: ReferencePass; head: Head; settings: TopSettings },
): Promise<Float32Array> {
  const { hidden, positions } = await pass.forwardToHost(batch);
  const C = hidden.dims.at(-1)!;
  const width = columns(settings.k);
  const table = new Float32Array(positions.length * width);
  for (let start = 0; start < positions.length; start += rowsAtOnce) {
    const chosen = positions.subarray(start, start + rowsAtOnce);
    const rows = new Float32Array(chosen.length * C);
    gatherRows(hidden, chosen, rows);
    const referenceRows = { dtype: "float32" as const, dims: [chosen.length, C], data: rows };
    const { logProbabilities } = await head.executable.run({ ...head.parameters, referenceRows });
    const all = logProbabilities!.data as Float32Array;
    const V = all.length / chosen.length;
    chosen.forEach((_, i) => {
      writeRow(all.subarray(i * V, (i + 1) * V), settings.k, table.subarray((start + i) * width, (start + i + 1) * width));
    });
  }
  return table;
}

/** @param row [2k + 2] */
export function writeRow(logProbabilities: Float32Array, k: number, row: Float32Array): void {
  let [total, kept, entropy, i] = [0, 0, 0, 0];
  for (const value of logProbabilities) total += Math.exp(value);
  for (const id of largestFirst(logProbabilities)) {
    if (i === k) break;
    const p = Math.exp(logProbabilities[id]!);
    row[i] = id; // exact in float32 up to 16.7 million tokens
    row[k + i++] = p;
    kept += p;
    entropy += p * logProbabilities[id]!;
  }
  const rest = k === logProbabilities.length ? 0 : Math.max(0, total - kept);
  row[2 * k] = rest;
  row[2 * k + 1] = entropy + (rest > 0 ? rest * Math.log(rest) : 0);
}

/** @throws CheckpointError if the file is damaged */
export async function openTopPredictions(source: ByteSource, { index, k }: { index: TopIndex; k: number }): Promise<TopPredictions> {
  const { tensors } = await openSafetensors(source);
  const begin = Math.min(...[...tensors.values()].map((tensor) => tensor.begin));
  const width = columns(k);
  return {
    k,
    numbersOf: (batch) => numbersOf(batch, index),
    async read(numbers) {
      const table = new Uint8Array(4 * width * numbers.length);
      for (const { start, end } of runsOf(numbers)) {
        const bytes = await source.read(begin + 4 * width * numbers[start]!, 4 * width * (end - start));
        table.set(bytes, 4 * width * start);
      }
      return splitColumns(new Float32Array(table.buffer), k);
    },
  };
}

/** The inputs `referenceTop.*` of a head over n targets. */
export function topTensors(
  { ids, probabilities, rest, negativeEntropy }: TopRows,
  { n, vocabSize }: { n: number; vocabSize: number },
): Record<string, HostTensor> {
  const k = ids.length / n;
  const positions = BigInt64Array.from(ids, (id, i) => BigInt(Math.floor(i / k) * vocabSize + id));
  return {
    "referenceTop.positions": { dtype: "int64", dims: [n, k], data: positions },
    "referenceTop.probabilities": { dtype: "float32", dims: [n, k], data: probabilities },
    "referenceTop.rest": { dtype: "float32", dims: [n], data: rest },
    "referenceTop.negativeEntropy": { dtype: "float32", dims: [n], data: negativeEntropy },
  };
}

/** Rows of the right sizes that say nothing: enough to time a step before the teacher has been asked. */
export const blankPredictions = (k: number): TopPredictions => ({
  k,
  numbersOf: ({ targetPositions }) => new Int32Array(targetPositions.length),
  read: async ({ length }) => ({
    ids: Int32Array.from({ length: length * k }, (_, i) => i % k),
    probabilities: new Float32Array(length * k),
    rest: new Float32Array(length),
    negativeEntropy: new Float32Array(length),
  }),
});

function splitColumns(table: Float32Array, k: number): TopRows {
  const width = columns(k);
  const n = table.length / width;
  const rows: TopRows = {
    ...{ ids: new Int32Array(n * k), probabilities: new Float32Array(n * k) },
    ...{ rest: new Float32Array(n), negativeEntropy: new Float32Array(n) },
  };
  for (let i = 0; i < n; i++) {
    const row = table.subarray(i * width, (i + 1) * width);
    rows.ids.set(row.subarray(0, k), i * k);
    rows.probabilities.set(row.subarray(k, 2 * k), i * k);
    rows.rest[i] = row[2 * k]!;
    rows.negativeEntropy[i] = row[2 * k + 1]!;
  }
  return rows;
}

/** Stretches in which each number is one above the last. */
function* runsOf(numbers: Int32Array): Generator<{ start: number; end: number }> {
  for (let start = 0; start < numbers.length; ) {
    let end = start + 1;
    while (end < numbers.length && numbers[end] === numbers[end - 1]! + 1) end++;
    yield { start, end };
    start = end;
  }
}

function numbersOf(batch: Batch, { firstOf }: TopIndex): Int32Array {
  const numbers = new Int32Array(batch.targetPositions.length);
  let at = 0;
  for (const { key, targets } of documentsOf(batch)) {
    const first = firstOf.get(key)!;
    for (let i = 0; i < targets; i++) numbers[at++] = first + i;
  }
  return numbers;
}

/** The documents of a batch that have targets, in the order of the targets. */
function documentsOf({ tokens, inputIds, documentIds, targetPositions }: Batch): { key: string; targets: number }[] {
  const documents: { key: string; targets: number }[] = [];
  for (let t = 0; t < targetPositions.length; ) {
    const position = targetPositions[t]!;
    const row = Math.floor(position / tokens);
    const inside = (i: number): boolean => i >= row * tokens && i < (row + 1) * tokens && documentIds[i] === documentIds[position];
    let [start, end] = [position, position];
    while (inside(start - 1)) start--;
    while (inside(end)) end++;
    const first = t;
    while (t < targetPositions.length && targetPositions[t]! < end) t++;
    const offsets = targetPositions.subarray(first, t).map((target) => target - start);
    documents.push({ key: keyOf([inputIds.subarray(start, end), offsets]), targets: t - first });
  }
  return documents;
}

/** 2 x 32 bits over whole numbers, after MurmurHash's mixing. */
function keyOf(parts: readonly Int32Array[]): string {
  let [a, b] = [0x9747b28c, 0x3c6ef372];
  for (const part of parts) {
    for (const value of [part.length, ...part]) {
      a = Math.imul(a ^ value, 0x85ebca6b);
      a ^= a >>> 13;
      b = Math.imul(b ^ value, 0xc2b2ae35);
      b ^= b >>> 16;
    }
  }
  return `${a >>> 0}.${b >>> 0}`;
}
