/** The next token of a text, of an answer, of a conversation: what decoders do by nature. */
import { z } from "zod";
import { nextToken } from "../data/collators.ts";
import { prepareDataset } from "../data/dataset.ts";
import { textFormats } from "../data/formats/registry.ts";
import type { Task } from "./task.ts";

const configSchema = z.strictObject({ name: z.literal("causal-lm") });

export const causalLmTask = {
  name: "causal-lm",
  summary: "Continue texts and answer: the next token.",
  configSchema,
  formats: textFormats,
  isNatural: (model) => !model.encoder && !model.maskKind(0).isBidirectional,
  bind: () => ({
    name: "causal-lm",
    collator: nextToken,
    peftTaskType: "CAUSAL_LM",
    resolvedConfig: { name: "causal-lm" },
    prepare: (rows, { model, ...options }) => prepareDataset({ ...options, rows, vocabSize: model.vocabSize }),
  }),
} as const satisfies Task<z.output<typeof configSchema>>;
