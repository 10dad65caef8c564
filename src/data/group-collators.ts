/** Examples of several documents: the choices of a question, and an anchor with what it is compared with. */
import type { TokenizedExample } from "./batch.ts";
import { documentsOf } from "./batches.ts";
import { type CollatedDocument, type Collator, type Pooling, pooledOffsets, poolingTargets } from "./collators.ts";

/** One document scores each choice; `target` of the first is the right one, counted from 0. Targets, for G questions with at most K choices:
 * choices int64 [G, K], documents (the first where there are fewer); isChoice [G, K]. */
export const choiceOf = (pools: Pooling): Collator => ({
  rowsOf: (example) => pooledOffsets(example, pools).map((offset) => ({ offset, label: 0 })),
  finish(documents) {
    const groups = groupsOf(documents);
    const K = Math.max(...groups.map(({ length }) => length));
    const choices = new Int32Array(groups.length * K);
    const isChoice = new Float32Array(groups.length * K);
    groups.forEach((group, g) => {
      choices.set(group, g * K);
      isChoice.fill(1, g * K, g * K + group.length);
    });
    const dims = [groups.length, K];
    return {
      labels: groups.map(([lead]) => ({ document: lead!, label: documents[lead!]!.example.target![0]! })),
      targets: { ...poolingTargets(documents, pools), choices: { dims, data: choices }, isChoice: { dims, data: isChoice } },
    };
  },
});

/** An anchor, its positive and any negatives. Candidates are the positives of all anchors in their order, then all negatives.
 * Targets: anchors int64 [G] and candidates int64 [K], documents. The label of an anchor is its place. */
export const anchorWithCandidates = (pools: Pooling): Collator => ({
  rowsOf: (example) => pooledOffsets(example, pools).map((offset) => ({ offset, label: 0 })),
  finish(documents) {
    const groups = groupsOf(documents);
    const anchors = groups.map(([anchor]) => anchor!);
    const candidates = [...groups.map(([, positive]) => positive!), ...groups.flatMap(([, , ...negatives]) => negatives)];
    return {
      labels: anchors.map((document, label) => ({ document, label })),
      targets: {
        ...poolingTargets(documents, pools),
        anchors: { dims: [anchors.length], data: Int32Array.from(anchors) },
        candidates: { dims: [candidates.length], data: Int32Array.from(candidates) },
      },
    };
  },
});

/** Documents that belong together, by their numbers, each example's own first. A document alone, whose vector is wanted and nothing else, is its own positive. */
function groupsOf(documents: readonly CollatedDocument[]): number[][] {
  const numbers = new Map<TokenizedExample, number>(documents.map(({ example }, document) => [example, document]));
  const followers = new Set(documents.flatMap(({ example }) => example.companions ?? []));
  return documents.flatMap(({ example }, document) => {
    if (followers.has(example)) return [];
    return [example.companions ? documentsOf(example).map((one) => numbers.get(one)!) : [document, document]];
  });
}
