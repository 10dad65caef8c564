/** A vector for a text, near those of texts that belong to it: what search and clustering stand on. Trained on pairs, with the other pairs of the batch as what does not belong. */
import { z } from "zod";
import { DataError } from "../base/errors.ts";
import type { TokenizedExample } from "../data/batch.ts";
import { anchorPositive } from "../data/formats/anchor-positive.ts";
import { anchorWithCandidates } from "../data/group-collators.ts";
import { fitDocument } from "../data/tokenizers/fit-document.ts";
import type { Tokenizer } from "../data/tokenizers/tokenizer.ts";
import type { ScoredDocument } from "../evaluation/held-out.ts";
import { rankOf } from "../evaluation/task-metrics/ranks.ts";
import type { Scores } from "../evaluation/task-metrics/task-metric.ts";
import { withLabelHead } from "../models/label-heads.ts";
import { multipleNegativesRanking } from "../objectives/multiple-negatives-ranking.ts";
import { prepareExamples, textOf } from "./examples.ts";
import { indexOfMax } from "./probabilities.ts";
import type { BoundTask, Inference, Task } from "./task.ts";

const configSchema = z.strictObject({
  name: z.literal("sentence-embeddings"),
  pooling: z
    .enum(["mean", "first", "last"])
    .default("mean")
    .describe(
      "Which tokens stand for the text: the mean of all, the first (cls), or the last, which alone has seen all others in a decoder.",
    ),
});

const name = "sentence-embeddings";
const formats = [anchorPositive] as const;

export const sentenceEmbeddings = {
  name: "sentence-embeddings",
  summary: "Vectors of texts, near each other where the texts belong together.",
  configSchema,
  formats,
  isNatural: () => false,
  bind({ model, config: { pooling } }): BoundTask {
    const head = { name, numLabels: model.hiddenSize, pools: pooling } as const;
    withLabelHead(model, head);
    return {
      ...{ name, head, objective: multipleNegativesRanking, inference },
      collator: anchorWithCandidates(pooling),
      peftTaskType: "FEATURE_EXTRACTION",
      score: scoresOf,
      resolvedConfig: { name, pooling },
      prepare: (rows, { tokenizer, ...options }) =>
        prepareExamples<"compared">(rows, {
          ...{ ...options, formats },
          make: ({ anchor, positive, negatives }) =>
            exampleOf([anchor, positive, ...negatives], { tokenizer, maxLength: options.maxLength }),
        }),
    };
  },
} as const satisfies Task<z.output<typeof configSchema>>;

function exampleOf(texts: readonly string[], { tokenizer, maxLength }: { tokenizer: Tokenizer; maxLength: number }) {
  const documents = texts.map((text) => {
    const document = fitDocument(tokenizer, { text, maxLength });
    if (document.inputIds.length === 0) throw new DataError(`the text ${JSON.stringify(text)} has no tokens. Remove the row.`);
    return document;
  });
  const [first, ...companions] = documents.map(
    ({ isTruncated, ...document }): TokenizedExample => ({ ...document, labels: new Int32Array(0) }),
  );
  const example: TokenizedExample = { ...first!, ...(companions.length > 0 && { companions }), notes: texts };
  return { examples: [example], isTruncated: documents.some(({ isTruncated }) => isTruncated) };
}

/** Vectors of length one. */
function normalised(vector: Float32Array): Float32Array {
  const length = Math.sqrt(vector.reduce((sum, value) => sum + value * value, 0));
  return vector.map((value) => value / (length || 1));
}

const dot = (a: Float32Array, b: Float32Array): number => a.reduce((sum, value, i) => sum + value * b[i]!, 0);

/** Every anchor looks for its positive among the positives of all examples. */
function scoresOf(scored: readonly ScoredDocument[]): Scores {
  const vectors = scored.map(({ predictions }) => predictions.map(normalised));
  const positives = vectors.map(([, positive]) => positive!);
  const textsOf = (i: number): readonly string[] => scored[i]!.example.notes as readonly string[];
  const items = vectors.map(([anchor], i) => {
    const similarities = positives.map((positive) => dot(anchor!, positive));
    const nearest = indexOfMax(similarities);
    return { rank: rankOf(similarities, i), text: textsOf(i)[0]!, expected: textsOf(i)[1]!, said: textsOf(nearest)[1]! };
  });
  return { kind: "ranks", items };
}

const inference: Inference = {
  reads: "text",
  prepare: (rows, options) => rows.map((source) => exampleOf([textOf(source, "text")], options).examples[0]!),
  show: (scored) => scored.map(({ predictions }) => ({ embedding: [...predictions[0]!] })),
};
