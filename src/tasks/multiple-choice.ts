/** Which of several ways to go on is right: a document for each, scored by one number, as transformers' ForMultipleChoice. */
import { z } from "zod";
import { DataError } from "../base/errors.ts";
import type { TokenizedExample } from "../data/batch.ts";
import { choices } from "../data/formats/choices.ts";
import { choiceOf } from "../data/group-collators.ts";
import { fitDocument } from "../data/tokenizers/fit-document.ts";
import type { Tokenizer } from "../data/tokenizers/tokenizer.ts";
import type { ScoredDocument } from "../evaluation/held-out.ts";
import type { Scores } from "../evaluation/task-metrics/task-metric.ts";
import { withLabelHead } from "../models/label-heads.ts";
import { multipleChoice as objective } from "../objectives/multiple-choice.ts";
import { prepareExamples, type SampleOf, textOf } from "./examples.ts";
import { indexOfMax, rounded, softmax } from "./probabilities.ts";
import type { BoundTask, Inference, Task } from "./task.ts";

const configSchema = z.strictObject({ name: z.literal("multiple-choice") });

const name = "multiple-choice";
const formats = [choices] as const;

export const multipleChoice = {
  name: "multiple-choice",
  summary: "Which of several answers or continuations is right.",
  configSchema,
  formats,
  isNatural: () => false,
  bind({ model }): BoundTask {
    const head = { name, numLabels: 1 } as const;
    const { pools } = withLabelHead(model, head).labelHead!;
    return {
      ...{ name, head, objective, inference },
      collator: choiceOf(pools),
      peftTaskType: "SEQ_CLS", // PEFT has no type of its own for it; both are a pooled document with a linear layer
      score: scoresOf,
      resolvedConfig: { name },
      prepare: (rows, { tokenizer, ...options }) =>
        prepareExamples<"choice">(rows, {
          ...options,
          formats,
          make: (sample) => exampleOf(sample, { tokenizer, maxLength: options.maxLength }),
        }),
    };
  },
} as const satisfies Task<z.output<typeof configSchema>>;

type Question = Pick<SampleOf<"choice">, "text" | "choices" | "answer">;

function exampleOf({ text, choices, answer }: Question, { tokenizer, maxLength }: { tokenizer: Tokenizer; maxLength: number }) {
  const documents = choices.map((pair) => fitDocument(tokenizer, { text, pair, maxLength }));
  const [first, ...companions] = documents.map(
    ({ isTruncated, ...document }): TokenizedExample => ({ ...document, labels: new Int32Array(0) }),
  );
  const example: TokenizedExample = { ...first!, companions, target: [answer], notes: { text, choices } };
  return { examples: [example], isTruncated: documents.some(({ isTruncated }) => isTruncated) };
}

const notesOf = ({ notes }: TokenizedExample): Pick<Question, "text" | "choices"> => notes as Pick<Question, "text" | "choices">;
const scoresOfChoices = ({ predictions }: ScoredDocument): number[] => softmax(predictions.map(([score]) => score!));

function scoresOf(scored: readonly ScoredDocument[]): Scores {
  const items = scored.map((document) => {
    const { text, choices } = notesOf(document.example);
    const probabilities = scoresOfChoices(document);
    const [predicted, actual] = [indexOfMax(probabilities), document.example.target![0]!];
    return { predicted, actual, text, said: choices[predicted]!, expected: choices[actual]!, confidence: probabilities[predicted]! };
  });
  return { kind: "choices", items };
}

const inference: Inference = {
  reads: "question, and choices, a list of texts",
  prepare: (rows, options) =>
    rows.flatMap((source) => {
      const list = source.row.choices;
      if (!Array.isArray(list) || list.length < 2 || !list.every((choice) => typeof choice === "string"))
        throw new DataError(`${source.at}: choices is ${JSON.stringify(list)?.slice(0, 60)}; expected a list of two or more texts.`);
      return exampleOf({ text: textOf(source, "question"), choices: list, answer: 0 }, options).examples;
    }),
  show: (scored) =>
    scored.map((document) => {
      const { choices } = notesOf(document.example);
      const probabilities = scoresOfChoices(document);
      const best = indexOfMax(probabilities);
      return { choice: choices[best], index: best, probability: rounded(probabilities[best]!), probabilities: probabilities.map(rounded) };
    }),
};
