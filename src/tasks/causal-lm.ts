/** The next token of a text, of an answer, of a conversation: what decoders do by nature. */
import { z } from "zod";
import { UnsupportedError } from "../base/errors.ts";
import { nextToken } from "../data/collators.ts";
import { atRow, chatTemplateOf, prepareDataset, readRow, type SourceRow } from "../data/dataset.ts";
import { chooseFormat, textFormats } from "../data/formats/registry.ts";
import { askSample } from "../data/templates/ask-sample.ts";
import { textMetrics } from "../evaluation/task-metrics/registry.ts";
import type { AskedPrompt } from "../evaluation/written-texts.ts";
import type { AskOptions, Task } from "./task.ts";

const configSchema = z.strictObject({ name: z.literal("causal-lm") });

export const causalLmTask = {
  name: "causal-lm",
  summary: "Continue texts and answer: the next token.",
  configSchema,
  formats: textFormats,
  textMetrics,
  isNatural: (model) => !model.encoder && !model.maskKind(0).isBidirectional,
  bind({ model }) {
    const { modelType } = model;
    if (model.encoder) throw new UnsupportedError(`${modelType} reads a source before it writes; use the task seq2seq-lm.`);
    if (model.maskKind(0).isBidirectional)
      throw new UnsupportedError(
        `${modelType} sees both sides of every token, so there is no next one to predict. Use the task masked-lm, or one over labels.`,
      );
    return {
      name: "causal-lm",
      collator: nextToken,
      peftTaskType: "CAUSAL_LM",
      resolvedConfig: { name: "causal-lm" },
      prepare: (rows, options) => prepareDataset({ ...options, rows, vocabSize: model.vocabSize }),
      ask,
    };
  },
} as const satisfies Task<z.output<typeof configSchema>>;

function ask(rows: readonly SourceRow[], { tokenizer, format: name, maxLength }: AskOptions): AskedPrompt[] {
  const format = chooseFormat(
    name,
    rows.map(({ row }) => row),
    textFormats,
  );
  const template = chatTemplateOf(tokenizer);
  return rows
    .map((source) => {
      const sample = readRow(format, source);
      const { expected, ...question } = atRow(source.at, () => askSample(sample, { tokenizer, template }));
      return { ...question, expected: [expected] };
    })
    .filter(({ ids }) => ids.length < maxLength);
}
