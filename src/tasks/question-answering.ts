/** Answers that stand in a text, word for word: the first and the last token of the answer, over windows of a long context. As run_qa.py of transformers. */
import { z } from "zod";
import type { TokenizedExample } from "../data/batch.ts";
import { questionContext } from "../data/formats/question-context.ts";
import { answerSpan as collator } from "../data/span-collator.ts";
import type { ScoredDocument } from "../evaluation/held-out.ts";
import type { Scores } from "../evaluation/task-metrics/task-metric.ts";
import { withLabelHead } from "../models/label-heads.ts";
import { answerSpan as objective } from "../objectives/answer-span.ts";
import { windowOf, windowsOf } from "./answer-windows.ts";
import { type AnswerOptions, bestAnswers } from "./best-answers.ts";
import { prepareExamples, textOf, trainingSamples } from "./examples.ts";
import { rounded } from "./probabilities.ts";
import { forBothStacks } from "./shifted-documents.ts";
import type { BoundTask, Inference, Task } from "./task.ts";

const configSchema = z.strictObject({
  name: z.literal("question-answering"),
  docStride: z.int().min(0).default(128).describe("Tokens of the context that two windows of a long one share."),
  nBest: z.int().positive().default(20).describe("How many of the likeliest first and last tokens are tried for an answer."),
  maxAnswerLength: z.int().positive().default(30).describe("Longest answer in tokens."),
  mayLackAnswer: z
    .boolean()
    .optional()
    .describe("True if a question may have no answer in its context (SQuAD 2). Default: whether that is so in the training rows."),
});
type Config = z.output<typeof configSchema>;

const name = "question-answering";
const formats = [questionContext] as const;

export const questionAnswering = {
  name: "question-answering",
  summary: "Answers that stand word for word in a given text.",
  configSchema,
  formats,
  isNatural: () => false,
  bind(input): BoundTask {
    const samples = trainingSamples<"question">(input, formats);
    const mayLackAnswer = input.config.mayLackAnswer ?? samples?.some(({ answers }) => answers.length === 0) ?? false;
    const { docStride, nBest, maxAnswerLength } = input.config;
    const options = { nBest, maxAnswerLength, mayLackAnswer };
    const head = { name, numLabels: 2 } as const;
    const model = withLabelHead(input.model, head);
    let read = 0;
    const task: BoundTask = {
      ...{ name, head, objective, collator },
      peftTaskType: "QUESTION_ANS",
      score: (scored) => scoresOf(scored, options),
      inference: inferenceOf({ ...options, docStride }),
      resolvedConfig: { name, docStride, ...options },
      prepare: (rows, { tokenizer, ...others }) =>
        prepareExamples<"question">(rows, {
          ...{ ...others, formats },
          make: ({ id = `question ${++read}`, question, context, answers }) => ({
            examples: windowsOf({ id, question, context, answers }, { tokenizer, maxLength: others.maxLength, docStride }),
            isTruncated: false,
          }),
        }),
    };
    return forBothStacks(task, model);
  },
} as const satisfies Task<Config>;

/** Windows by their question, in the order in which questions first appear. */
function byQuestion(scored: readonly ScoredDocument[]): ScoredDocument[][] {
  const questions = new Map<unknown, ScoredDocument[]>();
  for (const document of scored) {
    const { question } = windowOf(document.example);
    questions.set(question, [...(questions.get(question) ?? []), document]);
  }
  return [...questions.values()];
}

function scoresOf(scored: readonly ScoredDocument[], options: AnswerOptions): Scores {
  const items = byQuestion(scored).map((windows) => {
    const { question, answers, context } = windowOf(windows[0]!.example).question;
    const [best] = bestAnswers(windows, options);
    const actual = [...new Set(answers.map(({ text }) => text))];
    const shown = {
      text: `${question} | ${context.slice(0, 200)}`,
      expected: actual.join(" / ") || "no answer",
      said: best!.text || "no answer",
    };
    return { ...shown, predicted: best!.text, actual, confidence: best!.probability };
  });
  return { kind: "answers", items };
}

const inferenceOf = ({ docStride, ...options }: AnswerOptions & { docStride: number }): Inference => ({
  reads: "question and context",
  prepare: (rows, { tokenizer, maxLength }) =>
    rows.flatMap((source, i): TokenizedExample[] => {
      const [question, context] = [textOf(source, "question"), textOf(source, "context")];
      return windowsOf({ id: String(i), question, context, answers: [] }, { tokenizer, maxLength, docStride });
    }),
  show: (scored) =>
    byQuestion(scored).map((windows) => {
      const [best, ...others] = bestAnswers(windows, options).map((answer) => ({
        ...{ answer: answer.text, start: answer.start, end: answer.end, probability: rounded(answer.probability) },
      }));
      return { ...best, others: others.slice(0, 4) };
    }),
});
