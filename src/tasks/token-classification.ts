/** A tag for every word of a sentence. A word's first token carries its tag; the others carry none, as in transformers' example. */
import { z } from "zod";
import { ignoredLabel, type TokenizedExample } from "../data/batch.ts";
import { sameToken } from "../data/collators.ts";
import { taggedWords } from "../data/formats/tagged-words.ts";
import { encodeWords, frameOf } from "../data/tokenizers/document-parts.ts";
import type { Tokenizer } from "../data/tokenizers/tokenizer.ts";
import type { ScoredDocument } from "../evaluation/held-out.ts";
import type { Scores } from "../evaluation/task-metrics/task-metric.ts";
import { withLabelHead } from "../models/label-heads.ts";
import { singleLabelClassification } from "../objectives/single-label-classification.ts";
import { prepareExamples, requireRoom, textOf, trainingSamples } from "./examples.ts";
import { chooseLabels, collectLabels, idOfLabel, labelFields, labelsOfCheckpoint } from "./labels.ts";
import { indexOfMax, rounded, softmax } from "./probabilities.ts";
import type { BoundTask, Inference, Task } from "./task.ts";

const configSchema = z.strictObject({
  name: z.literal("token-classification"),
  labels: z
    .array(z.string())
    .min(1)
    .optional()
    .describe("Names of the tags in the order of their ids. Default: the checkpoint's, or all that occur in the training rows."),
});

const name = "token-classification";
const formats = [taggedWords] as const;

export const tokenClassification = {
  name: "token-classification",
  summary: "A tag for every word: names, parts of speech.",
  configSchema,
  formats,
  isNatural: () => false,
  bind(input): BoundTask {
    const labels = labelsOf(input.config.labels, { input, samples: trainingSamples<"tagged">(input, formats) });
    const head = { name, numLabels: labels.length } as const;
    withLabelHead(input.model, head);
    return {
      ...{ name, head, objective: singleLabelClassification, collator: sameToken },
      peftTaskType: "TOKEN_CLS",
      score: (scored) => scoresOf(scored, labels),
      inference: inferenceOf(labels),
      configFields: labelFields(labels),
      resolvedConfig: { name, labels },
      prepare: (rows, { tokenizer, ...options }) =>
        prepareExamples<"tagged">(rows, {
          ...{ ...options, formats },
          targetsOf: (example) => wordsOf(example).length,
          make({ words, tags }) {
            const ids = tags.map((tag) => idOfLabel(labels, tag));
            return documentOf({ tokenizer, words, maxLength: options.maxLength }, ids);
          },
        }),
    };
  },
} as const satisfies Task<z.output<typeof configSchema>>;

interface LabelInput {
  readonly input: { readonly checkpointConfig: Readonly<Record<string, unknown>> };
  readonly samples: readonly { readonly tags: readonly string[] }[] | undefined;
}

const labelsOf = (configured: readonly string[] | undefined, { input, samples }: LabelInput): readonly string[] =>
  chooseLabels({
    configured,
    checkpoint: labelsOfCheckpoint(input.checkpointConfig),
    collected: samples && collectLabels(samples.flatMap(({ tags }) => tags)),
  });

interface Sentence {
  readonly tokenizer: Tokenizer;
  readonly words: readonly string[];
  readonly maxLength: number;
}

/** Words that have a tag, in the order of the tagged tokens. */
const wordsOf = ({ notes }: TokenizedExample): readonly string[] => notes as readonly string[];

/** A sentence as tokens, cut at the end of a word where it is too long. @param tags one id for each word */
function documentOf({ tokenizer, words, maxLength }: Sentence, tags: readonly number[]) {
  const { before, after } = frameOf(tokenizer);
  const room = maxLength - before.length - after.length;
  requireRoom(room, { maxLength, forWhat: "a word" });
  const ids = [...before];
  const labels = before.map(() => ignoredLabel);
  const tagged: string[] = [];
  let isTruncated = false;
  for (const [i, tokens] of encodeWords(tokenizer, words).entries()) {
    isTruncated = ids.length - before.length + tokens.length > room;
    if (isTruncated) break;
    if (tokens.length === 0) continue; // a word of characters that the tokenizer drops has no place for its tag
    ids.push(...tokens);
    labels.push(tags[i]!, ...tokens.slice(1).map(() => ignoredLabel));
    tagged.push(words[i]!);
  }
  const all = { inputIds: Int32Array.from([...ids, ...after]), labels: Int32Array.from([...labels, ...after.map(() => ignoredLabel)]) };
  return { examples: [{ ...all, notes: tagged }], isTruncated };
}

function scoresOf(scored: readonly ScoredDocument[], labels: readonly string[]): Scores {
  const items = scored.map(({ example, predictions }) => {
    const actual = [...example.labels].filter((label) => label !== ignoredLabel).map((label) => labels[label]!);
    const predicted = predictions.map((logits) => labels[indexOfMax(logits)]!);
    const show = (tags: readonly string[]): string =>
      wordsOf(example)
        .flatMap((word, i) => (tags[i] === "O" ? [] : [`${word} ${tags[i]}`]))
        .join(", ") || "no tags";
    const confidence = predictions.reduce((product, logits) => product * Math.max(...softmax(logits)), 1);
    return { predicted, actual, text: wordsOf(example).join(" "), expected: show(actual), said: show(predicted), confidence };
  });
  return { kind: "tags", items };
}

const inferenceOf = (labels: readonly string[]): Inference => ({
  reads: "text, of words with spaces between, or tokens, a list of words",
  prepare: (rows, { tokenizer, maxLength }) =>
    rows.flatMap((source) => {
      const { tokens } = source.row;
      const words = Array.isArray(tokens) ? tokens.map(String) : textOf(source, "text").split(/\s+/).filter(Boolean);
      return documentOf(
        { tokenizer, words, maxLength },
        words.map(() => 0),
      ).examples;
    }),
  show: (scored) =>
    scored.map(({ example, predictions }) => ({
      words: wordsOf(example).map((word, i) => {
        const probabilities = softmax(predictions[i]!);
        const best = indexOfMax(probabilities);
        return { word, label: labels[best], probability: rounded(probabilities[best]!) };
      }),
    })),
});
