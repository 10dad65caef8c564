/** Where an answer begins and ends in its document. */
import type { Collator } from "./collators.ts";

/**
 * The head reads every token; `target` holds the first and the last token of the answer. Targets, for D documents of at
 * most L tokens: tokenRows int64 [D, L], rows of the head by document (the first row where a document is shorter);
 * isToken [D, L]; starts and ends int64 [D], rows of the head.
 */
export const answerSpan: Collator = {
  rowsOf: ({ inputIds }) => Array.from(inputIds, (_, offset) => ({ offset, label: 0 })),
  finish(documents) {
    const D = documents.length;
    const L = Math.max(...documents.map(({ rows }) => rows));
    const tokenRows = new Int32Array(D * L);
    const isToken = new Float32Array(D * L);
    const [starts, ends] = [new Int32Array(D), new Int32Array(D)];
    let first = 0;
    documents.forEach(({ example, rows }, d) => {
      for (let i = 0; i < rows; i++) {
        tokenRows[d * L + i] = first + i;
        isToken[d * L + i] = 1;
      }
      starts[d] = first + example.target![0]!;
      ends[d] = first + example.target![1]!;
      first += rows;
    });
    return {
      labels: documents.map((_, document) => ({ document, label: 0 })),
      targets: {
        tokenRows: { dims: [D, L], data: tokenRows },
        isToken: { dims: [D, L], data: isToken },
        starts: { dims: [D], data: starts },
        ends: { dims: [D], data: ends },
      },
    };
  },
};
