/**
 * One label, several labels or a number for a whole text or a pair of texts. Loss and files follow `problem_type` of
 * transformers: cross-entropy over labels, binary cross-entropy of every label, squared error.
 */
import { z } from "zod";
import { ConfigError, DataError } from "../base/errors.ts";
import { wholeDocument } from "../data/collators.ts";
import { labelledText, readTexts } from "../data/formats/labelled-text.ts";
import { fitDocument } from "../data/tokenizers/fit-document.ts";
import type { ScoredDocument } from "../evaluation/held-out.ts";
import type { Scores } from "../evaluation/task-metrics/task-metric.ts";
import { withLabelHead } from "../models/label-heads.ts";
import { multiLabelClassification } from "../objectives/multi-label-classification.ts";
import { regression } from "../objectives/regression.ts";
import { singleLabelClassification } from "../objectives/single-label-classification.ts";
import { prepareExamples, type SampleOf, textOf, trainingSamples } from "./examples.ts";
import { chooseLabels, collectLabels, idOfLabel, labelFields, labelsOfCheckpoint } from "./labels.ts";
import { indexOfMax, rounded, sigmoid, softmax } from "./probabilities.ts";
import { forBothStacks } from "./shifted-documents.ts";
import type { BoundTask, Inference, Task, TaskInput } from "./task.ts";

const problemTypes = ["single_label_classification", "multi_label_classification", "regression"] as const;
type ProblemType = (typeof problemTypes)[number];

const configSchema = z.strictObject({
  name: z.literal("sequence-classification"),
  labels: z
    .array(z.string())
    .min(1)
    .optional()
    .describe("Names of the labels in the order of their ids. Default: the checkpoint's, or all that occur in the training rows."),
  problemType: z
    .enum(problemTypes)
    .optional()
    .describe(
      "Default: numbers with fractions are regression, lists of labels multi_label_classification, other labels single_label_classification.",
    ),
});
type Config = z.output<typeof configSchema>;

const name = "sequence-classification";
const formats = [labelledText] as const;
const objectives = {
  single_label_classification: singleLabelClassification,
  multi_label_classification: multiLabelClassification,
  regression,
} as const;

type LabelledSample = SampleOf<"labelled">;
interface Labelling {
  readonly labels: readonly string[];
  readonly problemType: ProblemType;
}

export const sequenceClassification = {
  name: "sequence-classification",
  summary: "Labels or a number for a whole text, or for two texts together.",
  configSchema,
  formats,
  isNatural: () => false,
  bind(input): BoundTask {
    const labelling = resolve(input, trainingSamples(input, formats));
    const { problemType, labels } = labelling;
    const head = { name, numLabels: labels.length } as const;
    const model = withLabelHead(input.model, head);
    const { pools } = model.labelHead!;
    const task: BoundTask = {
      ...{ name, head },
      objective: objectives[problemType],
      collator: wholeDocument({ pools, target: problemType === "single_label_classification" ? "class" : "values" }),
      peftTaskType: "SEQ_CLS",
      score: (scored) => scoresOf(scored, labelling),
      inference: inferenceOf(labelling),
      configFields: { problem_type: problemType, ...labelFields(labels) },
      resolvedConfig: { name, labels, problemType },
      prepare: (rows, { tokenizer, ...options }) =>
        prepareExamples<"labelled">(rows, {
          ...{ ...options, formats },
          make(sample) {
            const { isTruncated, ...document } = fitDocument(tokenizer, { ...sample, maxLength: options.maxLength });
            if (document.inputIds.length === 0) throw new DataError("the text is empty. Remove the row.");
            const target = targetOf(sample, labelling);
            return { examples: [{ ...document, labels: new Int32Array(0), target, notes: shownText(sample) }], isTruncated };
          },
        }),
    };
    return forBothStacks(task, model);
  },
} as const satisfies Task<Config>;

const shownText = ({ text, pair }: Pick<LabelledSample, "text" | "pair">): string => (pair === undefined ? text : `${text} | ${pair}`);

function resolve({ config, checkpointConfig }: TaskInput<Config>, samples: readonly LabelledSample[] | undefined): Labelling {
  const stored = problemTypes.find((known) => known === checkpointConfig.problem_type);
  const byRows = samples && problemTypeOf(samples);
  const problemType = config.problemType ?? byRows ?? stored ?? "single_label_classification";
  if (problemType === "regression") {
    const width = samples?.[0]?.labels.length ?? labelsOfCheckpoint(checkpointConfig)?.length ?? 1;
    return { problemType, labels: config.labels ?? Array.from({ length: width }, (_, i) => `LABEL_${i}`) };
  }
  const labels = chooseLabels({
    configured: config.labels,
    checkpoint: labelsOfCheckpoint(checkpointConfig),
    collected: samples && collectLabels(samples.flatMap((sample) => sample.labels)),
  });
  if (problemType === "single_label_classification" && labels.length < 2)
    throw new ConfigError(
      `task: the training rows have one label only (${labels[0]}), so there is nothing to tell apart. Check data.train.`,
    );
  return { problemType, labels };
}

function problemTypeOf(samples: readonly LabelledSample[]): ProblemType {
  const labels = samples.flatMap((sample) => sample.labels);
  const areNumbers = labels.every((label) => label.trim() !== "" && Number.isFinite(Number(label)));
  if (areNumbers && labels.some((label) => !Number.isInteger(Number(label)))) return "regression";
  return samples.some(({ isList }) => isList) ? "multi_label_classification" : "single_label_classification";
}

function targetOf(sample: LabelledSample, { labels, problemType }: Labelling): number[] {
  if (problemType === "regression") {
    const values = sample.labels.map(Number);
    if (values.length !== labels.length || values.some((value) => !Number.isFinite(value)))
      throw new DataError(
        `the label is ${sample.labels.join(", ")}; expected ${labels.length === 1 ? "a number" : `${labels.length} numbers`}.`,
      );
    return values;
  }
  const ids = sample.labels.map((label) => idOfLabel(labels, label));
  if (problemType === "multi_label_classification") return labels.map((_, id) => Number(ids.includes(id)));
  if (ids.length !== 1)
    throw new DataError(`the row has ${ids.length} labels; expected one. Set task.problemType: multi_label_classification for several.`);
  return ids;
}

const labelsAbove = (flags: readonly boolean[], labels: readonly string[]): string[] => labels.filter((_, id) => flags[id]);

function scoresOf(scored: readonly ScoredDocument[], { labels, problemType }: Labelling): Scores {
  const documents = scored.map(({ example, predictions }) => ({
    ...{ logits: predictions[0]!, target: example.target!, text: example.notes as string },
  }));
  if (problemType === "regression") {
    const items = documents.map(({ logits, target, text }) => ({
      ...{ predicted: [...logits], actual: [...target], text },
      ...{ expected: target.map(rounded).join(", "), said: [...logits].map(rounded).join(", ") },
    }));
    return { kind: "numbers", items };
  }
  if (problemType === "multi_label_classification") {
    const items = documents.map(({ logits, target, text }) => {
      const [predicted, actual] = [[...logits].map((logit) => logit >= 0), target.map((flag) => flag === 1)];
      const [said, expected] = [labelsAbove(predicted, labels).join(", ") || "none", labelsAbove(actual, labels).join(", ") || "none"];
      const confidence = [...logits].reduce((product, logit) => product * sigmoid(Math.abs(logit)), 1);
      return { predicted, actual, text, said, expected, confidence };
    });
    return { kind: "label-sets", items, labels };
  }
  const items = documents.map(({ logits, target, text }) => {
    const [predicted, actual] = [indexOfMax(logits), target[0]!];
    return { predicted, actual, text, said: labels[predicted]!, expected: labels[actual]!, confidence: softmax(logits)[predicted]! };
  });
  return { kind: "classes", items, labels };
}

function inferenceOf({ labels, problemType }: Labelling): Inference {
  return {
    reads: "text, and text_pair where two texts belong together",
    prepare: (rows, { tokenizer, maxLength }) =>
      rows.map((source) => {
        const { text = textOf(source, "text"), pair } = readTexts(source.row);
        const { isTruncated, ...document } = fitDocument(tokenizer, { text, pair, maxLength });
        if (document.inputIds.length === 0) throw new DataError(`${source.at}: the text has no tokens.`);
        return { ...document, labels: new Int32Array(0), target: labels.map(() => 0) };
      }),
    show: (scored) => scored.map(({ predictions }) => described(predictions[0]!)),
  };

  function described(logits: Float32Array): Record<string, unknown> {
    if (problemType === "regression") return { values: Object.fromEntries(labels.map((label, id) => [label, rounded(logits[id]!)])) };
    const isMulti = problemType === "multi_label_classification";
    const probabilities = isMulti ? [...logits].map(sigmoid) : softmax(logits);
    const scores = Object.fromEntries(labels.map((label, id) => [label, rounded(probabilities[id]!)]));
    if (isMulti) return { labels: labels.filter((_, id) => probabilities[id]! >= 0.5), probabilities: scores };
    const best = indexOfMax(probabilities);
    return { label: labels[best], probability: rounded(probabilities[best]!), probabilities: scores };
  }
}
