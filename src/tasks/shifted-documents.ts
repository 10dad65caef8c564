/** What an encoder-decoder reads of a document that it labels: the encoder all of it, the decoder the same shifted right, as transformers makes it from the encoder's tokens. */
import { ConfigError } from "../base/errors.ts";
import type { TokenizedExample } from "../data/batch.ts";
import type { LabelHead, Model } from "../models/model.ts";
import type { BoundTask } from "./task.ts";

/** The same task with examples for both stacks, where its head reads both. @param model with the task's head */
export function forBothStacks(task: BoundTask, { labelHead }: Pick<Model, "labelHead">): BoundTask {
  if (!labelHead?.shifted) return task;
  const { inference } = task;
  const read = (example: TokenizedExample): TokenizedExample => asHeadReads(example, labelHead);
  return {
    ...task,
    prepare(rows, options) {
      const dataset = task.prepare(rows, options);
      return { ...dataset, examples: dataset.examples.map(read) };
    },
    ...(inference && { inference: { ...inference, prepare: (rows, options) => inference.prepare(rows, options).map(read) } }),
  };
}

/** A document as a model with this head reads it. @throws ConfigError if the row of the document's end is read, and it has none */
export function asHeadReads(example: TokenizedExample, { shifted, pools }: LabelHead): TokenizedExample {
  if (!shifted) return example;
  const { inputIds } = example;
  if (pools === "last" && inputIds.at(-1) !== shifted.end)
    throw new ConfigError(
      `the tokenizer ends a document with token ${inputIds.at(-1)}; this model reads a label at eos_token_id, which is ${shifted.end} in config.json. Use tokenizer.json and config.json of one checkpoint.`,
    );
  return { ...example, inputIds: Int32Array.of(shifted.start, ...inputIds.subarray(0, -1)), encoderInputIds: inputIds };
}
