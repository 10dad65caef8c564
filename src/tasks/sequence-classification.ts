/**
 * One label, several labels or a number for a whole text or a pair of texts. Loss and files follow `problem_type` of
 * transformers: cross-entropy over labels, binary cross-entropy of every label, squared error.
 */
import { z } from "zod";
import { ConfigError, DataError } from "../base/errors.ts";
import type { TokenizedExample } from "../data/batch.ts";
import { wholeDocument } from "../data/collators.ts";
import { atRow, checkIds, readRow, type SourceRow } from "../data/dataset.ts";
import type { LabelledSample } from "../data/formats/format.ts";
import { labelledText } from "../data/formats/labelled-text.ts";
import { chooseFormat } from "../data/formats/registry.ts";
import { fitDocument } from "../data/tokenizers/fit-document.ts";
import { computeLabelMetrics } from "../evaluation/label-metrics/registry.ts";
import { withLabelHead } from "../models/label-heads.ts";
import { multiLabelClassification } from "../objectives/multi-label-classification.ts";
import { regression } from "../objectives/regression.ts";
import { singleLabelClassification } from "../objectives/single-label-classification.ts";
import { chooseLabels, collectLabels, idOfLabel, labelFields, labelsOfCheckpoint } from "./labels.ts";
import type { BoundTask, PrepareTaskOptions, ScoredDocument, Task, TaskInput } from "./task.ts";

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
    .describe("Default: lists of labels are multi_label_classification, other labels single_label_classification."),
});
type Config = z.output<typeof configSchema>;

const name = "sequence-classification";
const formats = [labelledText] as const;
const objectives = {
  single_label_classification: singleLabelClassification,
  multi_label_classification: multiLabelClassification,
  regression,
} as const;

export const sequenceClassification = {
  name: "sequence-classification",
  summary: "Labels or a number for a whole text, or for two texts together.",
  configSchema,
  formats,
  isNatural: () => false,
  bind(input): BoundTask {
    const samples = trainingSamples(input);
    const { problemType, labels } = resolve(input, samples);
    const head = { name, numLabels: labels.length } as const;
    const { pools } = withLabelHead(input.model, head).labelHead!;
    return {
      ...{ name, head },
      objective: objectives[problemType],
      collator: wholeDocument({ pools, target: problemType === "single_label_classification" ? "class" : "values" }),
      peftTaskType: "SEQ_CLS",
      ...(problemType === "single_label_classification" && { metrics: (scored) => scoreClasses(scored, labels.length) }),
      configFields: { problem_type: problemType, ...labelFields(labels) },
      resolvedConfig: { name, labels, problemType },
      prepare: (rows, options) => prepare(rows, { ...options, labels, problemType }),
    };
  },
} as const satisfies Task<Config>;

function trainingSamples({ training }: TaskInput<Config>): LabelledSample[] | undefined {
  if (!training) return undefined;
  const format = chooseFormat(
    training.format,
    training.rows.map(({ row }) => row),
    formats,
  );
  return training.rows.map((source) => readRow(format, source) as LabelledSample);
}

function resolve(
  { config, checkpointConfig }: TaskInput<Config>,
  samples: readonly LabelledSample[] | undefined,
): { problemType: ProblemType; labels: readonly string[] } {
  const stored = problemTypes.find((known) => known === checkpointConfig.problem_type);
  const byRows = samples && (samples.some(({ isList }) => isList) ? "multi_label_classification" : "single_label_classification");
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

const indexOfMax = (values: Float32Array): number => values.reduce((best, value, i) => (value > values[best]! ? i : best), 0);

const scoreClasses = (scored: readonly ScoredDocument[], numLabels: number): Record<string, number> =>
  computeLabelMetrics({
    predicted: scored.map(({ predictions }) => indexOfMax(predictions[0]!)),
    actual: scored.map(({ example }) => example.target![0]!),
    numLabels,
  });

interface PrepareOptions extends PrepareTaskOptions {
  readonly labels: readonly string[];
  readonly problemType: ProblemType;
}

function prepare(rows: readonly SourceRow[], options: PrepareOptions) {
  const { tokenizer, model, maxLength, overlong } = options;
  const format = chooseFormat(
    options.format,
    rows.map(({ row }) => row),
    formats,
  );
  const examples: TokenizedExample[] = [];
  let [truncated, droppedOverlong] = [0, 0];
  for (const source of rows) {
    const sample = readRow(format, source) as LabelledSample;
    const { inputIds, tokenTypeIds, isTruncated } = fitDocument(tokenizer, { ...sample, maxLength });
    if (isTruncated && overlong === "error")
      throw new DataError(
        `${source.at}: the text is longer than data.maxLength ${maxLength}. Raise it, or set data.overlong to truncate or drop.`,
      );
    if (isTruncated && overlong === "drop") {
      droppedOverlong++;
      continue;
    }
    if (inputIds.length === 0) throw new DataError(`${source.at}: the text is empty. Remove the row.`);
    truncated += Number(isTruncated);
    const example = { inputIds, labels: new Int32Array(0), tokenTypeIds, target: atRow(source.at, () => targetOf(sample, options)) };
    checkIds(example, { at: source.at, vocabSize: model.vocabSize });
    examples.push(example);
  }
  if (examples.length === 0)
    throw new DataError(`no row is left: ${droppedOverlong} of ${rows.length} are longer than data.maxLength ${maxLength}.`);
  const tokens = examples.reduce((sum, { inputIds }) => sum + inputIds.length, 0);
  const report = { format: format.name, rows: rows.length, examples: examples.length, truncated, droppedOverlong, droppedUnsupervised: 0 };
  return { examples, report: { ...report, tokens, supervisedTokens: examples.length } };
}

function targetOf(sample: LabelledSample, { labels, problemType }: PrepareOptions): number[] {
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
